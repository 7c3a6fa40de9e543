// Branded strings: an id of one kind cannot be passed where another kind is meant.
declare const brand: unique symbol
export type Brand<T, B extends string> = T & { readonly [brand]: B }

export type ClusterId = Brand<string, 'cluster'>
export type NodeId = Brand<string, 'node'>
export type ServiceId = Brand<string, 'service'>
export type TaskId = Brand<string, 'task'>
export type NetworkId = Brand<string, 'network'>
export type SecretId = Brand<string, 'secret'>
export type ConfigId = Brand<string, 'config'>
