// Whose a route is: the kernel keeps a number with each (RTA_PROTOCOL), and `ip route` shows it.

/** Marks our routes, as `proto 84`; no routing daemon of rt_protos(5) has it. */
export const routeProtocol = 84
