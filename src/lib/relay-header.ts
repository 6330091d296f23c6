/** By this header the main process knows that a request comes from a process of its own, which may say whose it is. */
export const RELAY_SECRET_HEADER = "x-myelin-relay";
