// Loaded before a program that would listen on every address: here it listens on loopback alone.
import { Server } from "node:net";

const listen = Server.prototype.listen;
Server.prototype.listen = function (...args) {
  const [first] = args;
  if (typeof first === "number") args.splice(0, typeof args[1] === "string" ? 2 : 1, first, "127.0.0.1");
  else if (first && typeof first === "object" && "port" in first) args[0] = { ...first, host: "127.0.0.1" };
  return listen.apply(this, args);
};
