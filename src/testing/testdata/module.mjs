// A module that does what a test has put down under the export's name (`testModule`).
const make = (name) => (config, api) => globalThis.myelinTestModules.get(name)(config, api);
export default new Proxy({}, { get: (_target, name) => make(String(name)) });
