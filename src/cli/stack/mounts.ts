// The mounts of a service: volumes of the stack under its name, binds, tmpfs, images.
import type { Mount } from '../../client/index.ts'
import { type Project, type Service, sizeBytes } from '../../compose/index.ts'
import { ExitError } from '../io.ts'
import { scopedName, stackLabels, textRecord } from './objects.ts'

type ServiceVolume = NonNullable<Service['volumes']>[number]

export function serviceMounts(stack: string, project: Project, name: string, service: Service): Mount[] {
  const mounts = (service.volumes ?? []).map((volume) => mountOf(stack, project, volume))
  for (const [i, text] of (service.tmpfs ?? []).entries()) mounts.push(tmpfsMount(text, `services.${name}.tmpfs[${i}]`))
  // A service has no flag for the size of its shared memory; a tmpfs in that place is the same.
  if (service.shm_size !== undefined && !mounts.some(({ Target }) => Target === '/dev/shm')) {
    mounts.push({ Type: 'tmpfs', Target: '/dev/shm', TmpfsOptions: { SizeBytes: service.shm_size } })
  }
  return mounts
}

function mountOf(stack: string, project: Project, volume: ServiceVolume): Mount {
  const mount: Mount = {
    Type: volume.type,
    Target: volume.target,
    ...(volume.source === undefined ? {} : { Source: volume.source }),
    ...(volume.read_only ? { ReadOnly: true } : {}),
    ...(volume.consistency ? { Consistency: volume.consistency } : {}),
  }
  if (volume.type === 'bind' && volume.bind) mount.BindOptions = bindOptions(volume.bind)
  if (volume.type === 'tmpfs' && volume.tmpfs) {
    mount.TmpfsOptions = { SizeBytes: volume.tmpfs.size, ...(volume.tmpfs.mode === undefined ? {} : { Mode: volume.tmpfs.mode }) }
  }
  if (volume.type === 'image' && volume.image) mount.ImageOptions = { Subpath: volume.image.subpath }
  if (volume.type === 'volume' && volume.source !== undefined) {
    const declared = project.volumes.get(volume.source)
    mount.Source = scopedName(stack, volume.source, declared)
    mount.VolumeOptions = {
      ...(volume.volume?.nocopy ? { NoCopy: true } : {}),
      ...(volume.volume?.subpath ? { Subpath: volume.volume.subpath } : {}),
    }
    if (!declared?.external) {
      mount.VolumeOptions.Labels = stackLabels(stack, new Map([...(volume.volume?.labels ?? []), ...(declared?.labels ?? [])]))
      if (declared?.driver || declared?.driver_opts?.size) {
        mount.VolumeOptions.DriverConfig = {
          ...(declared.driver ? { Name: declared.driver } : {}),
          ...(declared.driver_opts?.size ? { Options: textRecord(declared.driver_opts) } : {}),
        }
      }
    }
  }
  return mount
}

function bindOptions({ propagation, recursive }: NonNullable<ServiceVolume['bind']>): NonNullable<Mount['BindOptions']> {
  return {
    ...(propagation ? { Propagation: propagation } : {}),
    ...(recursive === 'disabled' ? { NonRecursive: true } : {}),
    ...(recursive === 'writable' ? { ReadOnlyNonRecursive: true } : {}),
    ...(recursive === 'readonly' ? { ReadOnlyForceRecursive: true } : {}),
  }
}

/** `/run:size=64m,mode=1777`. */
function tmpfsMount(text: string, name: string): Mount {
  const colon = text.indexOf(':')
  const target = colon < 0 ? text : text.slice(0, colon)
  const mount: Mount = { Type: 'tmpfs', Target: target }
  for (const option of colon < 0 ? [] : text.slice(colon + 1).split(',')) {
    const [key = '', value = ''] = option.split('=', 2)
    try {
      if (key === 'size') mount.TmpfsOptions = { ...mount.TmpfsOptions, SizeBytes: sizeBytes(value) }
      else if (key === 'mode' && /^[0-7]{1,5}$/.test(value)) mount.TmpfsOptions = { ...mount.TmpfsOptions, Mode: Number.parseInt(value, 8) }
      else if (key === 'ro') mount.ReadOnly = true
      else if (!['rw', 'noexec', 'nosuid', 'nodev', ''].includes(key))
        throw new Error(`services know the options size, mode and ro, not ${option}`)
    } catch (error) {
      throw new ExitError(1, `${name}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
  return mount
}
