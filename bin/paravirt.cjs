#!/usr/bin/env node
/**
 * The `paravirt` command's first file. It parses on any Node: one that is too old is told so in one line, or, in a
 * checkout or where the npm package `node` is installed, replaced by that one.
 */
'use strict'
var path = require('path')
var fs = require('fs')
var MINIMUM = 24

/** Compiled code is kept between runs, beside the other caches: starting takes a quarter of the time. */
function keepCompiledCode() {
  var cache = process.env.XDG_CACHE_HOME || path.join(require('os').homedir(), '.cache')
  if (!process.env.NODE_COMPILE_CACHE) require('module').enableCompileCache(path.join(cache, 'paravirt', 'compiled'))
}

function run() {
  keepCompiledCode()
  var source = path.join(__dirname, '..', 'src', 'cli', 'main.ts')
  var built = path.join(__dirname, '..', 'dist', 'main.js')
  require(fs.existsSync(source) ? source : built)
}

function runOnPackagedNode(binary) {
  var args = [__filename].concat(process.argv.slice(2))
  var child = require('child_process').spawn(binary, args, { stdio: 'inherit' })
  // Ctrl-C reaches both processes by the terminal; what is sent to this one only is passed on. The child decides.
  var ignore = function () {}
  process.on('SIGINT', ignore)
  process.on('SIGQUIT', ignore)
  process.on('SIGTERM', function () {
    child.kill('SIGTERM')
  })
  process.on('SIGHUP', function () {
    child.kill('SIGHUP')
  })
  child.on('exit', function (code, signal) {
    process.exit(code === null ? 128 + (require('os').constants.signals[signal] || 0) : code)
  })
}

if (parseInt(process.versions.node, 10) >= MINIMUM) {
  run()
} else {
  var packaged = path.join(__dirname, '..', 'node_modules', '.bin', 'node')
  if (fs.existsSync(packaged)) {
    runOnPackagedNode(packaged)
  } else {
    process.stderr.write('paravirt: needs Node.js ' + MINIMUM + ' or newer; this is ' + process.version + '\n')
    process.exit(2)
  }
}
