// Pure planner of what must be unique: addresses, VIPs, published ports, VXLAN ids, subnets, node numbers.
export { AddressIndex, type AddressUse } from './addresses.ts'
export { addressOf, type Block, formatAddress, formatBlock, overlaps, parseAddress, parseBlock } from './ipv4.ts'
export {
  allocateNetwork,
  DEFAULT_ADDRESS_POOLS,
  DEFAULT_SUBNET_SIZE,
  FIRST_VNI,
  type NetworkAllocation,
} from './networks.ts'
export { freeNodeNumber, MAX_NODE_NUMBER } from './nodeNumbers.ts'
export { DYNAMIC_PORT_FIRST, DYNAMIC_PORT_LAST, PortIndex, portConflict } from './ports.ts'
