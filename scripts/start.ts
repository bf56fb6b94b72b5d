/** `npm start`: the matrix of the default kernel, or whatever `paravirt matrix` is given: `npm start -- --platforms kvm`. */
process.argv.splice(2, 0, 'matrix')
await import('../src/cli/main.ts')
