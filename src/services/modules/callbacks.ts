import type { Logger } from "../../lib/log.ts";
import { AccountDataModules } from "./callbacks/account-data.ts";
import { AccountValidity } from "./callbacks/account-validity.ts";
import { BackgroundUpdateModules } from "./callbacks/background-updates.ts";
import { FederationModules } from "./callbacks/federation.ts";
import { MediaModules } from "./callbacks/media-repository.ts";
import { PasswordAuth } from "./callbacks/password-auth.ts";
import { PresenceRouter } from "./callbacks/presence-router.ts";
import { RatelimitModules } from "./callbacks/ratelimit.ts";
import { SpamChecker } from "./callbacks/spam-checker.ts";
import { ThirdPartyRules } from "./callbacks/third-party-rules.ts";
import { UnsignedModules } from "./callbacks/unsigned.ts";
import { WebResources } from "./web-resources.ts";

/** What modules registered, by Synapse's categories: the server asks here, and a server without modules is answered at once. */
export class ModuleCallbacks {
  readonly accountData: AccountDataModules;
  readonly accountValidity = new AccountValidity();
  readonly backgroundUpdates = new BackgroundUpdateModules();
  readonly federation: FederationModules;
  readonly media = new MediaModules();
  readonly passwordAuth: PasswordAuth;
  readonly presenceRouter: PresenceRouter;
  readonly ratelimit = new RatelimitModules();
  readonly spamChecker: SpamChecker;
  readonly thirdPartyRules: ThirdPartyRules;
  readonly unsigned = new UnsignedModules();
  readonly webResources = new WebResources();

  constructor(log: Logger) {
    const own = log.named("synapse.module_api");
    this.accountData = new AccountDataModules(own);
    this.federation = new FederationModules(own);
    this.passwordAuth = new PasswordAuth(own);
    this.presenceRouter = new PresenceRouter(own);
    this.spamChecker = new SpamChecker(own);
    this.thirdPartyRules = new ThirdPartyRules(own);
  }
}
