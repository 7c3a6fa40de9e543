# Sourced by bin/shoal and bin/shoald with $self (resolved path of the launcher) and $entry (name of the bundle): finds Node, builds when needed, execs.
bindir=${self%/*}
[ "$bindir" = "$self" ] && bindir=.
root=$bindir/..
node=$root/node_modules/.bin/node
if [ ! -x "$node" ]; then
  node=$(command -v node) || node=
  major=0
  [ -n "$node" ] && major=$("$node" -p 'process.versions.node.split(".")[0]')
  if [ "$major" -lt 24 ]; then
    echo "$entry: no Node 24 in $root/node_modules. Run 'npm ci' in the checkout first (npm run demo and npm test do it for you)." >&2
    exit 1
  fi
fi
# A read-only checkout (a machine's /opt/shoal, an installed package) is never built, only run.
if [ -w "$root/src" ]; then
  stamp=$root/dist/$entry.stamp
  if [ ! -e "$stamp" ] || [ ! -e "$root/dist/$entry.mjs" ] ||
    [ -n "$(find "$root/src" "$root/package-lock.json" "$root/scripts/build.mjs" -newer "$stamp" -print -quit)" ]; then
    if ! "$node" "$root/scripts/build.mjs" --quiet --need "$entry" >&2; then
      [ -e "$root/dist/$entry.mjs" ] || exit 1
      echo "$entry: the build failed; running the previous one" >&2
    fi
  fi
fi
if [ ! -e "$root/dist/$entry.mjs" ]; then
  echo "$entry: $root/dist/$entry.mjs is missing and the checkout is read-only. Run 'npm run build' where it can be written." >&2
  exit 1
fi
exec "$node" --disable-warning=ExperimentalWarning "$root/dist/$entry.mjs" "$@"
