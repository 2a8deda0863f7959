// What the host knows about the server: processes, namespaces, cgroups, mounts, framebuffers.

import fs from 'node:fs';
import path from 'node:path';

export const NAMESPACES = ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'];

/** The file's text, or null where it (or its process) is gone. */
export function readOr(file, otherwise = null) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return otherwise;
  }
}

function linkOr(file, otherwise = null) {
  try {
    return fs.readlinkSync(file);
  } catch {
    return otherwise;
  }
}

function listOr(directory) {
  try {
    return fs.readdirSync(directory);
  } catch {
    return [];
  }
}

/**
 * @typedef {object} Process
 * @property {number} pid
 * @property {number} parent
 * @property {string} name its `comm`
 * @property {string[]} command
 * @property {number} uid
 */

/** @returns {Process | null} */
export function processOf(pid) {
  const stat = readOr(`/proc/${pid}/stat`);
  const status = readOr(`/proc/${pid}/status`);
  if (!stat || !status) return null;
  const rest = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (rest[0] === 'Z') return null;
  return {
    pid,
    parent: Number(rest[1]),
    name: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
    command: (readOr(`/proc/${pid}/cmdline`) ?? '').split('\0').filter(Boolean),
    uid: Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]),
  };
}

/** @returns {Process[]} */
export function processes() {
  return listOr('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => processOf(Number(name)))
    .filter((it) => it !== null);
}

/** All that descend from `pid`, itself left out. @returns {Process[]} */
export function descendants(pid) {
  const all = processes();
  const found = [];
  const walk = (parent) => {
    for (const it of all.filter((one) => one.parent === parent)) {
      found.push(it);
      walk(it.pid);
    }
  };
  walk(pid);
  return found;
}

/** Processor time that a process has used, in ticks of 10 ms. */
export function ticksOf(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

/** The fields of /proc/PID/status. @returns {Record<string, string>} */
export function statusOf(pid) {
  const lines = (readOr(`/proc/${pid}/status`) ?? '').split('\n').filter(Boolean);
  return Object.fromEntries(lines.map((it) => it.split(/:\s+/, 2)));
}

/** @returns {Record<string, string>} */
export function namespacesOf(pid) {
  return Object.fromEntries(NAMESPACES.map((it) => [it, linkOr(`/proc/${pid}/ns/${it}`)]));
}

/** What each descriptor of a process points to. @returns {Record<string, string>} */
export function descriptorsOf(pid) {
  const names = listOr(`/proc/${pid}/fd`);
  return Object.fromEntries(names.map((it) => [it, linkOr(`/proc/${pid}/fd/${it}`, '')]));
}

/** @returns {Record<string, string>} */
export function environmentOf(pid) {
  const parts = (readOr(`/proc/${pid}/environ`) ?? '').split('\0').filter(Boolean);
  return Object.fromEntries(parts.map((it) => it.split(/=(.*)/s, 2)));
}

/** Paths of unix sockets that a process holds, "@" for abstract ones. @returns {string[]} */
export function socketPathsOf(pid) {
  const paths = new Map();
  for (const line of (readOr(`/proc/${pid}/net/unix`) ?? '').split('\n').slice(1)) {
    const [, , , , , , inode, name] = line.trim().split(/\s+/);
    if (name) paths.set(inode, name);
  }
  return Object.values(descriptorsOf(pid))
    .map((it) => paths.get(/^socket:\[(\d+)\]$/.exec(it)?.[1] ?? ''))
    .filter((it) => it !== undefined);
}

/**
 * Reads a value of the cgroup that a process is in, whichever version carries it.
 *
 * @param {number} pid
 * @param {string} controller
 * @param {string} file
 */
export function cgroupValue(pid, controller, file) {
  for (const line of (readOr(`/proc/${pid}/cgroup`) ?? '').trim().split('\n')) {
    const [, controllers, group] = line.split(/:([^:]*):(.*)/s);
    // The line without controllers is that of v2.
    if (controllers !== '' && !controllers.split(',').includes(controller)) continue;
    for (const mount of [controller, controllers]) {
      const value = readOr(path.join('/sys/fs/cgroup', mount, group, file));
      if (value !== null) return value.trim();
    }
  }
  return null;
}

/** Every cgroup directory of every hierarchy. @returns {Set<string>} */
export function cgroups() {
  const found = new Set();
  const walk = (directory, depth) => {
    for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
      if (!entry.isDirectory() || depth > 12) continue;
      const child = path.join(directory, entry.name);
      found.add(child);
      try {
        walk(child, depth + 1);
      } catch (error) {
        // A group may go while it is walked; anything else is a fault.
        if (error.code !== 'ENOENT') throw error;
      }
    }
  };
  walk('/sys/fs/cgroup', 0);
  return found;
}

/** Lines of the host's mount table. @returns {string[]} */
export function mounts() {
  return (readOr('/proc/self/mountinfo') ?? '').trim().split('\n');
}

/** Every path below a directory, sorted; none where it is not there. @returns {string[]} */
export function tree(directory) {
  return listOr(directory)
    .flatMap((name) => {
      const child = path.join(directory, name);
      const isDirectory = fs.lstatSync(child, { throwIfNoEntry: false })?.isDirectory();
      return [child, ...(isDirectory ? tree(child) : [])];
    })
    .sort();
}

/**
 * The pixels that a jailed Xvfb shows, read through one of its own descriptors.
 *
 * @param {number} pid of the Xvfb
 * @returns {{width: number, height: number, stride: number, pixels: Buffer}}
 */
export function pixelsOf(pid) {
  const maps = readOr(`/proc/${pid}/maps`) ?? '';
  const mapped = maps.split('\n').find((it) => it.includes(' rw-s ') && it.includes('memfd:'));
  if (!mapped) throw new Error(`Xvfb ${pid} maps no memfd`);
  // The map's link works when its descriptor is closed already.
  return pixelsIn(`/proc/${pid}/map_files/${mapped.split(' ', 1)[0]}`);
}

/** The same with their brightness: BT.709 luma of full range. */
export function framebufferOf(pid) {
  const screen = pixelsOf(pid);
  return { ...screen, luma: lumaOf(screen) };
}

/** The pixels in the file that an Xvfb maps. */
export function pixelsIn(file) {
  const descriptor = fs.openSync(file, 'r');
  try {
    const header = Buffer.alloc(100);
    fs.readSync(descriptor, header, 0, 100, 0);
    const field = (index) => header.readUInt32BE(index * 4);
    const [width, height, stride] = [field(4), field(5), field(12)];
    const offset = field(0) + field(19) * 12;
    const pixels = Buffer.alloc(stride * height);
    fs.readSync(descriptor, pixels, 0, pixels.length, offset);
    return { width, height, stride, pixels };
  } finally {
    fs.closeSync(descriptor);
  }
}

function lumaOf({ width, height, stride, pixels }) {
  const luma = new Uint8Array(width * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * stride + x * 4;
      const [blue, green, red] = [pixels[at], pixels[at + 1], pixels[at + 2]];
      luma[y * width + x] = Math.round(0.2126 * red + 0.7152 * green + 0.0722 * blue);
    }
  }
  return luma;
}
