/** What vite makes of an import of a worker. */
declare module '*?worker&inline' {
  const constructor: new () => Worker
  export default constructor
}
