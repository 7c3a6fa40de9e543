// Makes what servers install: a tarball and a .deb with the bundles, the pinned Node, lmdb and a systemd unit.
//   npm run package [-- --out FOLDER] [--no-deb]
// The layout is the checkout's (bin, dist, node_modules), so the same launchers work; there is no src, so nothing is ever built there.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..')
const { version, description } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'))
const argument = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined)
const out = path.resolve(argument('--out') ?? path.join(root, 'dist/release'))
const arch = { x64: 'amd64', arm64: 'arm64' }[process.arch]
if (!arch) fail(`no packages are made for ${process.arch}`)
const PREFIX = 'usr/lib/shoal'

const POSTINST = `if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl enable shoald >/dev/null 2>&1 || true
  systemctl restart shoald || echo "shoald did not start: see journalctl -u shoald" >&2
fi
`
const PRERM = `if [ "$1" = remove ] && [ -d /run/systemd/system ]; then systemctl disable --now shoald >/dev/null 2>&1 || true; fi
`
// Containers of the swarm belong to it: who removes Shoal for good leaves the swarm first.
const POSTRM = `[ -d /run/systemd/system ] && systemctl daemon-reload || true
if [ "$1" = purge ]; then rm -rf /var/lib/shoal /run/shoal /var/cache/shoal /etc/default/shoald; fi
# what runs have put beside the packaged files (compile caches); never in an upgrade, whose new files are there already
case "$1" in remove|purge) rm -rf /${PREFIX} ;; esac
`

run(process.execPath, [path.join(root, 'scripts/build.mjs'), '--quiet'])
const name = `shoal-${version}-linux-${arch}`
const stage = path.join(out, '.stage')
rmSync(stage, { recursive: true, force: true })
const home = path.join(stage, PREFIX)
mkdirSync(home, { recursive: true })
try {
  copyProgram(home)
  // the tarball: the program, the unit, and a script that puts both in place
  const tarRoot = path.join(stage, name)
  cpSync(home, tarRoot, { recursive: true, verbatimSymlinks: true })
  writeFileSync(path.join(tarRoot, 'shoald.service'), unit())
  writeFileSync(path.join(tarRoot, 'install.sh'), installScript(), { mode: 0o755 })
  const tarball = path.join(out, `${name}.tar.gz`)
  run('tar', ['-C', stage, '--owner=0', '--group=0', '--sort=name', '-czf', tarball, name])
  rmSync(tarRoot, { recursive: true })
  console.log(tarball)
  if (!process.argv.includes('--no-deb')) console.log(makeDeb())
} finally {
  rmSync(stage, { recursive: true, force: true })
}

function copyProgram(target) {
  for (const file of ['LICENSE', 'README.md']) cpSync(path.join(root, file), path.join(target, file))
  cpSync(path.join(root, 'bin'), path.join(target, 'bin'), { recursive: true })
  cpSync(path.join(root, 'docs'), path.join(target, 'docs'), { recursive: true })
  for (const file of reachable(['shoal.mjs', 'shoald.mjs', 'shoald-dns.mjs'])) {
    mkdirSync(path.dirname(path.join(target, 'dist', file)), { recursive: true })
    cpSync(path.join(root, 'dist', file), path.join(target, 'dist', file))
  }
  for (const module of closure('lmdb')) copyModule(module, target)
  const node = `node-linux-${process.arch}`
  mkdirSync(path.join(target, 'node_modules/.bin'), { recursive: true })
  cpSync(path.join(root, 'node_modules', node, 'bin/node'), path.join(target, 'node_modules', node, 'bin/node'))
  for (const file of ['LICENSE', 'package.json']) {
    const from = path.join(root, 'node_modules', node, file)
    if (existsSync(from)) cpSync(from, path.join(target, 'node_modules', node, file))
  }
  symlinkSync(`../${node}/bin/node`, path.join(target, 'node_modules/.bin/node'))
}

/** The bundles that the entries load, however late. */
function reachable(entries) {
  const found = new Set()
  const visit = (file) => {
    if (found.has(file) || !existsSync(path.join(root, 'dist', file))) return
    found.add(file)
    const text = readFileSync(path.join(root, 'dist', file), 'utf8')
    for (const [, other] of text.matchAll(/["'`/]([\w.-]+\.mjs)["'`]/g)) {
      visit(other)
      visit(`chunks/${other}`)
    }
  }
  for (const entry of entries) visit(entry)
  return found
}

/** A module with everything it needs; optional ones only where they are installed. */
function closure(module, found = new Set()) {
  const manifest = path.join(root, 'node_modules', module, 'package.json')
  if (found.has(module) || !existsSync(manifest)) return found
  found.add(module)
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(readFileSync(manifest, 'utf8'))
  for (const next of Object.keys({ ...dependencies, ...optionalDependencies })) closure(next, found)
  return found
}

/** Without sources of native code and other things that only a build needs. */
function copyModule(module, target) {
  const from = path.join(root, 'node_modules', module)
  const unwanted = /(^|\/)(src|deps|dependencies|test|tests|benchmark|docs|\.github|node_modules|build)(\/|$)|\.(map|md|ts|cc|cpp|h|gyp)$/
  cpSync(from, path.join(target, 'node_modules', module), {
    recursive: true,
    filter: (source) => !unwanted.test(path.relative(from, source)) || /LICENSE/.test(source),
  })
}

function makeDeb() {
  const control = path.join(stage, 'DEBIAN')
  mkdirSync(control, { recursive: true })
  mkdirSync(path.join(stage, 'usr/bin'), { recursive: true })
  mkdirSync(path.join(stage, 'lib/systemd/system'), { recursive: true })
  mkdirSync(path.join(stage, 'etc/default'), { recursive: true })
  for (const program of ['shoal', 'shoald']) symlinkSync(`/${PREFIX}/bin/${program}`, path.join(stage, 'usr/bin', program))
  writeFileSync(path.join(stage, 'lib/systemd/system/shoald.service'), unit())
  writeFileSync(
    path.join(stage, 'etc/default/shoald'),
    '# Further options of shoald, for example: SHOALD_OPTIONS="--group docker --log-level debug"\nSHOALD_OPTIONS=""\n',
  )
  const fields = {
    Package: 'shoal',
    Version: version,
    Architecture: arch,
    Maintainer: 'The Shoal authors <shoal@example.invalid>',
    Section: 'admin',
    Priority: 'optional',
    'Installed-Size': String(Math.ceil(sizeOf(home) / 1024)),
    Depends: 'iproute2, nftables, iptables, conntrack, util-linux, tar',
    // one that is there is never replaced; several managers need etcd
    Recommends: 'docker-ce | moby-engine | docker.io, etcd-server | etcd',
    Description: `${description}\n Serves the Docker API with swarm mode in front of the Docker Engine of this computer.`,
  }
  writeFileSync(
    path.join(control, 'control'),
    `${Object.entries(fields)
      .map(([key, value]) => `${key}: ${value}`)
      .join('\n')}\n`,
  )
  writeFileSync(path.join(control, 'conffiles'), '/etc/default/shoald\n')
  const script = (file, text) => writeFileSync(path.join(control, file), `#!/bin/sh\nset -e\n${text}`, { mode: 0o755 })
  script('postinst', POSTINST)
  script('prerm', PRERM)
  script('postrm', POSTRM)
  const deb = path.join(out, `shoal_${version}_${arch}.deb`)
  run('dpkg-deb', ['--root-owner-group', '-Zgzip', '-z6', '--build', stage, deb])
  return deb
}

function unit() {
  return `[Unit]
Description=Shoal: swarm mode for the container engine of this computer
Documentation=file:/${PREFIX}/docs/operators.md
After=network-online.target docker.service containerd.service
Wants=network-online.target

[Service]
Type=simple
EnvironmentFile=-/etc/default/shoald
ExecStart=/${PREFIX}/bin/shoald $SHOALD_OPTIONS
# containers run on while shoald is away, so a restart is harmless
Restart=always
RestartSec=2
TimeoutStopSec=30
# a signal goes to shoald alone: what it has started ends with it
KillMode=mixed
StateDirectory=shoal
StateDirectoryMode=0700
RuntimeDirectory=shoal
# the socket that containers have mounted stays where it is
RuntimeDirectoryPreserve=restart
LimitNOFILE=1048576
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
`
}

function installScript() {
  return `#!/bin/sh
# Puts this folder to /${PREFIX} and starts shoald. Run it as root; again for an upgrade. "install.sh --remove" takes it away, the state stays.
set -e
here=$(cd "$(dirname "$0")" && pwd)
stop() { [ -d /run/systemd/system ] && systemctl disable --now shoald 2>/dev/null || true; }
if [ "$1" = --remove ]; then
  stop
  rm -rf /${PREFIX} /usr/bin/shoal /usr/bin/shoald /lib/systemd/system/shoald.service
  echo "Shoal is removed. Its state is still in /var/lib/shoal."
  exit 0
fi
rm -rf /${PREFIX}.new
mkdir -p /${PREFIX}.new /lib/systemd/system
cp -a "$here"/. /${PREFIX}.new/
rm -rf /${PREFIX}.old
[ -d /${PREFIX} ] && mv /${PREFIX} /${PREFIX}.old
mv /${PREFIX}.new /${PREFIX}
rm -rf /${PREFIX}.old
ln -sfn /${PREFIX}/bin/shoal /usr/bin/shoal
ln -sfn /${PREFIX}/bin/shoald /usr/bin/shoald
cp "$here/shoald.service" /lib/systemd/system/shoald.service
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl enable shoald >/dev/null 2>&1
  systemctl restart shoald
  echo "Shoal runs. Next: shoal swarm init, or shoal swarm join on a further node."
else
  echo "Shoal is installed. There is no systemd here: start /usr/bin/shoald yourself."
fi
`
}

function sizeOf(target) {
  const stat = statSync(target, { throwIfNoEntry: false })
  if (!stat) return 0
  return stat.isDirectory() ? readdirSync(target).reduce((sum, entry) => sum + sizeOf(path.join(target, entry)), 0) : stat.size
}

function run(program, args) {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) fail(`${program} failed: ${error?.message ?? stderr}`)
}

function fail(reason) {
  console.error(`package: ${reason}`)
  process.exit(1)
}
