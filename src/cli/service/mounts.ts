// --mount: type=...,source=...,target=... and the options of each kind.
import type { Mount } from '../../client/index.ts'
import { csvFields, keyValue, parseBytes } from '../flags/index.ts'

const DEFAULT_TYPE = 'volume'

/** The mount that one --mount value stands for; throws with docker's reasons. */
export function parseMount(text: string): Mount {
  const mount: Mount = { Type: DEFAULT_TYPE }
  for (const field of csvFields(text.trim())) {
    const equals = field.indexOf('=')
    const key = (equals < 0 ? field : field.slice(0, equals)).toLowerCase()
    const value = equals < 0 ? undefined : field.slice(equals + 1)
    setField(mount, key, value, field)
  }
  for (const [options, type] of [
    ['BindOptions', 'bind'],
    ['VolumeOptions', 'volume'],
    ['TmpfsOptions', 'tmpfs'],
    ['ImageOptions', 'image'],
  ] as const) {
    if (mount[options] && mount.Type !== type) throw new Error(`cannot mix '${type}-*' options with mount type '${mount.Type}'`)
  }
  if (mount.VolumeOptions) mount.VolumeOptions.DriverConfig ??= {}
  if (!mount.Target) throw new Error('target is required')
  return mount
}

function setField(mount: Mount, key: string, value: string | undefined, field: string): void {
  const flag = () => booleanValue(key, value)
  const text = () => {
    if (value === undefined) throw new Error(`invalid field '${field}' must be a key=value pair`)
    return value
  }
  switch (key) {
    case 'type':
      mount.Type = text().toLowerCase()
      return
    case 'source':
    case 'src':
      mount.Source = text()
      return
    case 'target':
    case 'dst':
    case 'destination':
      mount.Target = text()
      return
    case 'readonly':
    case 'ro':
      mount.ReadOnly = flag() || undefined
      return
    case 'consistency':
      mount.Consistency = text().toLowerCase()
      return
    case 'bind-propagation':
      bind(mount).Propagation = text().toLowerCase()
      return
    case 'bind-nonrecursive':
      bind(mount).NonRecursive = flag()
      return
    case 'bind-recursive':
      setRecursive(mount, text())
      return
    case 'volume-nocopy':
      volume(mount).NoCopy = flag()
      return
    case 'volume-subpath':
      volume(mount).Subpath = text()
      return
    case 'volume-label': {
      const [name, labelValue] = keyValue(value ?? '')
      const options = volume(mount)
      options.Labels = { ...options.Labels, [name]: labelValue }
      return
    }
    case 'volume-driver':
      volume(mount).DriverConfig = { ...volume(mount).DriverConfig, Name: text() }
      return
    case 'volume-opt': {
      const [name, optionValue] = keyValue(text())
      const options = volume(mount)
      options.DriverConfig = { ...options.DriverConfig, Options: { ...options.DriverConfig?.Options, [name]: optionValue } }
      return
    }
    case 'tmpfs-size':
      mount.TmpfsOptions = { ...mount.TmpfsOptions, SizeBytes: tmpfsSize(text()) }
      return
    case 'tmpfs-mode':
      if (!/^[0-7]{1,6}$/.test(text())) throw new Error(`invalid value for ${key}: ${value}`)
      mount.TmpfsOptions = { ...mount.TmpfsOptions, Mode: Number.parseInt(text(), 8) }
      return
    case 'image-subpath':
      mount.ImageOptions = { ...mount.ImageOptions, Subpath: text() }
      return
    default:
      if (value === undefined) throw new Error(`invalid field '${field}' must be a key=value pair`)
      throw new Error(`unexpected key '${key}' in '${field}'`)
  }
}

function bind(mount: Mount): NonNullable<Mount['BindOptions']> {
  mount.BindOptions ??= {}
  return mount.BindOptions
}

function volume(mount: Mount): NonNullable<Mount['VolumeOptions']> {
  mount.VolumeOptions ??= {}
  return mount.VolumeOptions
}

function tmpfsSize(text: string): number {
  try {
    return parseBytes(text)
  } catch {
    throw new Error(`invalid value for tmpfs-size: ${text}`)
  }
}

function setRecursive(mount: Mount, value: string): void {
  const options = bind(mount)
  if (value === 'enabled') return
  if (value === 'disabled') options.NonRecursive = true
  else if (value === 'writable') options.ReadOnlyNonRecursive = true
  else if (value === 'readonly') options.ReadOnlyForceRecursive = true
  else throw new Error(`invalid value for bind-recursive: ${value} (must be "enabled", "disabled", "writable", or "readonly")`)
}

function booleanValue(key: string, value: string | undefined): boolean {
  if (value === undefined || /^(?:1|true)$/i.test(value)) return true
  if (/^(?:0|false)$/i.test(value)) return false
  throw new Error(`invalid value for ${key}: ${value}`)
}
