import type { ConfigReader } from "../../../config/reader.ts";
import { escapeDnValue, LdapDirectory, type LdapEntry } from "../../../outbound/ldap.ts";
import type { ModuleApi } from "../api.ts";

/** `ldap_auth_provider`: passwords are checked by a directory, and accounts made of what it knows. */
interface LdapConfig {
  readonly base: string;
  readonly attributes: { readonly uid: string; readonly name: string; readonly mail: string };
  /** Search mode: who asks the directory where the user stands. undefined: the user's place follows from the name. */
  readonly bind: { readonly dn: string; readonly password: string; readonly filter: string | undefined } | undefined;
  readonly activeDirectory: boolean;
  readonly defaultDomain: string | undefined;
}

/** Who logs in: as the directory knows them, and as Matrix does. */
interface Names {
  readonly uid: string;
  readonly localpart: string;
  readonly displayName: string;
}

/** @throws ConfigError */
export function ldapAuthProvider(config: ConfigReader, api: ModuleApi): void {
  const uris = config.stringOrStrings("uri", []);
  if (uris.length === 0) throw config.wrong("uri", "an ldap:// or ldaps:// address (the option is required)");
  const directory = new LdapDirectory({ uris, startTls: config.boolean("start_tls", false), tls: tlsOf(config) });
  const provider = new LdapProvider(directory, parse(config), api);
  api.register_password_auth_provider_callbacks({
    auth_checkers: [
      {
        login_type: "m.login.password",
        fields: ["password"],
        check_auth: async (username, _type, { password }) => asResult(await provider.checkPassword(username, String(password))),
      },
    ],
    check_3pid_auth: async (medium, address, password) => asResult(await provider.checkThreepid(medium, address, password)),
  });
}

const asResult = (userId: string | undefined): readonly [string] | undefined => (userId === undefined ? undefined : [userId]);

function parse(config: ConfigReader): LdapConfig {
  config.boolean("enabled", false); // it has no meaning here: the module is configured
  config.string("mode"); // nor has this: bind_dn decides
  const attributes = config.object("attributes");
  const bindDn = config.text("bind_dn");
  if (bindDn !== undefined && config.text("bind_password") === undefined)
    throw config.wrong("bind_password", "a password (the option is required with bind_dn)");
  const activeDirectory = config.boolean("active_directory", false);
  return {
    base: config.requiredString("base"),
    attributes: { uid: attributes.requiredString("uid"), name: attributes.requiredString("name"), mail: attributes.requiredString("mail") },
    bind: bindDn === undefined ? undefined : { dn: bindDn, password: config.text("bind_password")!, filter: config.string("filter") },
    activeDirectory,
    defaultDomain: activeDirectory ? config.string("default_domain") : undefined,
  };
}

/** `tls_options` are ldap3's: those that say something about trust have a meaning here. */
function tlsOf(config: ConfigReader): Record<string, unknown> {
  const options = config.optionalObject("tls_options");
  if (options === undefined) return { rejectUnauthorized: config.boolean("validate_cert", true) };
  if (config.has("validate_cert")) throw config.error("validate_cert", "cannot stand beside tls_options");
  const validate = options.text("validate");
  const file = (key: string): Buffer | undefined => {
    const text = options.fileContent(key, { dataDir: "" });
    return text === undefined ? undefined : Buffer.from(text);
  };
  const names = options.strings("valid_names");
  return {
    rejectUnauthorized: validate === undefined ? false : !/CERT_NONE|^0$/.test(validate),
    ...(file("ca_certs_file") === undefined ? {} : { ca: file("ca_certs_file") }),
    ...(file("local_certificate_file") === undefined ? {} : { cert: file("local_certificate_file"), key: file("local_private_key_file") }),
    ...(names.length === 0 ? {} : { servername: names[0] }),
  };
}

class LdapProvider {
  /** undefined: not asked for yet; "": there is none. */
  private root: string | undefined;

  constructor(
    private readonly directory: LdapDirectory,
    private readonly config: LdapConfig,
    private readonly api: ModuleApi,
  ) {}

  /** The id of the user whose password it is; the account is made where it is missing. */
  async checkPassword(username: string, password: string): Promise<string | undefined> {
    if (password === "") return undefined;
    const names = await this.namesOf(username);
    if (names === undefined) return undefined;
    const { base, attributes, bind } = this.config;
    let entry: LdapEntry | undefined;
    if (bind === undefined) {
      if (!(await this.directory.accepts(`${attributes.uid}=${escapeDnValue(names.uid)},${base}`, password))) return undefined;
    } else {
      entry = await this.find({ [attributes.uid]: names.uid }, password);
      if (entry === undefined) return undefined;
    }
    const name = only(entry, attributes.name);
    return await this.account(names.localpart, name ?? names.displayName, only(entry, attributes.mail));
  }

  async checkThreepid(medium: string, address: string, password: string): Promise<string | undefined> {
    const { attributes, bind, activeDirectory, defaultDomain } = this.config;
    if (bind === undefined || medium !== "email" || password === "") return undefined;
    const entry = await this.find({ [attributes.mail]: address }, password);
    let localpart = only(entry, attributes.uid);
    if (entry === undefined || localpart === undefined) return undefined;
    if (activeDirectory && localpart.includes("@")) {
      const at = localpart.lastIndexOf("@");
      const [login, domain] = [localpart.slice(0, at).toLowerCase(), localpart.slice(at + 1).toLowerCase()];
      localpart = domain === defaultDomain?.toLowerCase() ? login : `${login}/${domain}`;
    }
    return await this.account(localpart, only(entry, attributes.name) ?? localpart, address);
  }

  /** The one entry with these attributes, if the password is that of its owner. */
  private async find(equal: Readonly<Record<string, string>>, password: string): Promise<LdapEntry | undefined> {
    const { base, bind, attributes } = this.config;
    const { dn, password: bindPassword, filter } = bind!;
    const wanted = [attributes.uid, attributes.name, attributes.mail];
    const found = await this.directory.search(dn, bindPassword, { base, equal, filter, attributes: wanted });
    if (found === undefined) this.api.log.warn("The LDAP directory does not take bind_dn with bind_password");
    if (found?.length !== 1) return undefined;
    return (await this.directory.accepts(found[0]!.dn, password)) ? found[0] : undefined;
  }

  private async account(localpart: string, displayName: string, mail: string | undefined): Promise<string> {
    const userId = this.api.get_qualified_user_id(localpart);
    const known = await this.api.check_user_exists(userId);
    if (known !== undefined) return known;
    const made = await this.api.register_user(localpart.toLowerCase(), displayName, mail === undefined ? [] : [mail]);
    this.api.log.info(`Registered ${made} by what the LDAP directory knows`);
    return made;
  }

  /** Active Directory: `domain\name`, `name/domain` or `name` of the default domain. undefined: the name has no domain. */
  private async namesOf(username: string): Promise<Names | undefined> {
    const plain = username.startsWith("@") && username.includes(":") ? username.slice(1, username.indexOf(":")) : username;
    const { activeDirectory, defaultDomain } = this.config;
    if (!activeDirectory) return { uid: plain, localpart: plain, displayName: plain };
    const lower = plain.toLowerCase();
    let login = lower;
    let domain = defaultDomain;
    if (lower.includes("\\")) {
      const at = lower.lastIndexOf("\\");
      [domain, login] = [lower.slice(0, at), lower.slice(at + 1)];
      const root = await this.rootDomain();
      if (root !== "" && !domain.endsWith(root.toLowerCase())) domain = `${domain}.${root.toLowerCase()}`;
    } else if (lower.includes("/")) {
      const at = lower.lastIndexOf("/");
      [login, domain] = [lower.slice(0, at), lower.slice(at + 1)];
    }
    if (domain === undefined) return undefined;
    const localpart = domain.toLowerCase() === defaultDomain?.toLowerCase() ? login : `${login}/${domain}`;
    return { uid: `${login}@${domain}`, localpart, displayName: login };
  }

  private async rootDomain(): Promise<string> {
    const { bind } = this.config;
    if (this.root === undefined) {
      this.root = bind === undefined ? "" : ((await this.directory.rootDomain(bind.dn, bind.password)) ?? "");
      if (this.root === "") this.api.log.warn("The LDAP directory names no root domain: logins with a short domain name will not work");
    }
    return this.root;
  }
}

/** The value of an attribute that has exactly one. */
function only(entry: LdapEntry | undefined, attribute: string): string | undefined {
  const values = Object.entries(entry?.attributes ?? {}).find(([name]) => name.toLowerCase() === attribute.toLowerCase())?.[1];
  return values?.length === 1 ? values[0] : undefined;
}
