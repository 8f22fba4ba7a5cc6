// Lead the TLS connections of this node process, those of fetch and https, through the proxy in HTTPS_PROXY.
// Loaded by NODE_OPTIONS=--require. Before 22.21 and 24.5, node itself reads no variable of a proxy.
'use strict';

const net = require('net');
const tls = require('tls');
const { Duplex } = require('stream');

const LONGEST_HEAD = 16384;

/** Tunnel: a stream to a host through the proxy, by CONNECT (RFC 9110 section 9.3.6). */
class Tunnel extends Duplex {
  constructor(proxy, host, port) {
    super();
    const name = `${net.isIPv6(host) ? `[${host}]` : host}:${port}`;
    let head = Buffer.alloc(0);
    this.through = net.connect(Number(proxy.port) || 80, proxy.hostname);
    this.through.setNoDelay(true);
    this.through.write(`CONNECT ${name} HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
    this.opened = false;
    this.waiting = null;
    this.through.on('data', (chunk) => {
      if (this.opened) return this.pass(chunk);
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return head.length > LONGEST_HEAD && this.destroy(new Error(`the proxy did not connect to ${name}`));
      if (!/^HTTP\/1\.[01] 200 /.test(head.toString('latin1'))) {
        return this.destroy(new Error(`the proxy refused to connect to ${name}`));
      }
      this.opened = true;
      if (this.waiting) this.waiting();
      if (head.length > end + 4) this.pass(head.subarray(end + 4));
    });
    this.through.on('end', () => this.push(null));
    this.through.on('error', (error) => this.destroy(error));
    this.through.on('close', () => this.destroy());
  }

  pass(chunk) {
    if (!this.push(chunk)) this.through.pause();
  }

  _read() {
    this.through.resume();
  }

  _write(chunk, encoding, done) {
    const write = () => this.through.write(chunk, encoding, done);
    if (this.opened) write();
    else this.waiting = write;
  }

  _final(done) {
    this.through.end(done);
  }

  _destroy(error, done) {
    this.through.destroy();
    done(error);
  }
}

function isLocal(host) {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}

const [major, minor] = process.versions.node.split('.').map(Number);
const readsProxy = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
const address = process.env.HTTPS_PROXY || process.env.https_proxy;
if (address && !readsProxy) {
  const proxy = new URL(address);
  const connect = tls.connect;
  tls.connect = function (options, ...others) {
    const leads = options && typeof options === 'object' && options.host && !options.socket && !options.path;
    if (!leads || isLocal(options.host)) return connect.call(this, options, ...others);
    const tunnel = new Tunnel(proxy, options.host, options.port || 443);
    const servername = options.servername || (net.isIP(options.host) ? '' : options.host);
    const secured = connect.call(this, { ...options, servername, socket: tunnel }, ...others);
    // An idle connection must not keep the process alive: the tunnel's socket is the one that could.
    for (const name of ['ref', 'unref']) {
      secured[name] = () => {
        tunnel.through[name]();
        return secured;
      };
    }
    return secured;
  };
}
