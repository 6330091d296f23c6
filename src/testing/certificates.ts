import forge from "node-forge";

/** A certificate authority and one server certificate for `localhost` and 127.0.0.1, as PEM. */
export interface TestCertificates {
  readonly ca: string;
  readonly certificate: string;
  readonly privateKey: string;
}

let made: TestCertificates | undefined;

/** Made once a process: keys take a while. */
export function testCertificates(): TestCertificates {
  return (made ??= make());
}

function make(): TestCertificates {
  const authority = forge.pki.rsa.generateKeyPair(2048);
  const server = forge.pki.rsa.generateKeyPair(2048);
  const ca = certificate("1", "Test authority", "Test authority", authority.publicKey, authority.privateKey, [
    { name: "basicConstraints", cA: true, critical: true },
    { name: "keyUsage", keyCertSign: true, critical: true },
  ]);
  const own = certificate("2", "localhost", "Test authority", server.publicKey, authority.privateKey, [
    { name: "basicConstraints", cA: false },
    {
      name: "subjectAltName",
      altNames: [
        { type: 2, value: "localhost" },
        { type: 7, ip: "127.0.0.1" },
      ],
    },
  ]);
  return { ca: forge.pki.certificateToPem(ca), certificate: forge.pki.certificateToPem(own), privateKey: forge.pki.privateKeyToPem(server.privateKey) };
}

function certificate(
  serial: string,
  name: string,
  issuer: string,
  key: forge.pki.rsa.PublicKey,
  signer: forge.pki.rsa.PrivateKey,
  extensions: object[],
): forge.pki.Certificate {
  const made = forge.pki.createCertificate();
  made.publicKey = key;
  made.serialNumber = serial.padStart(2, "0");
  made.validity.notBefore = new Date("2020-01-01T00:00:00Z");
  made.validity.notAfter = new Date("2049-01-01T00:00:00Z");
  made.setSubject([{ name: "commonName", value: name }]);
  made.setIssuer([{ name: "commonName", value: issuer }]);
  made.setExtensions(extensions);
  made.sign(signer, forge.md.sha256.create());
  return made;
}
