/** Names of attributes as identity providers write them, and what they are called here: those that people are described with. */

/** Object identifiers (the name format "uri"), by what defines them. */
const OBJECT_IDS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  // X.500 (RFC 4519)
  "2.5.4": {
    2: "knowledgeInformation",
    3: "cn",
    4: "sn",
    5: "serialNumber",
    6: "c",
    7: "l",
    8: "st",
    9: "street",
    10: "o",
    11: "ou",
    12: "title",
    14: "searchGuide",
    15: "businessCategory",
    16: "postalAddress",
    17: "postalCode",
    18: "postOfficeBox",
    19: "physicalDeliveryOfficeName",
    20: "telephoneNumber",
    21: "telexNumber",
    22: "teletexTerminalIdentifier",
    23: "facsimileTelephoneNumber",
    24: "x121Address",
    25: "internationaliSDNNumber",
    26: "registeredAddress",
    27: "destinationIndicator",
    28: "preferredDeliveryMethod",
    29: "presentationAddress",
    30: "supportedApplicationContext",
    31: "member",
    32: "owner",
    33: "roleOccupant",
    36: "userCertificate",
    37: "cACertificate",
    38: "authorityRevocationList",
    39: "certificateRevocationList",
    40: "crossCertificatePair",
    42: "givenName",
    43: "initials",
    44: "generationQualifier",
    45: "x500UniqueIdentifier",
    46: "dnQualifier",
    47: "enhancedSearchGuide",
    48: "protocolInformation",
    50: "uniqueMember",
    51: "houseIdentifier",
    52: "supportedAlgorithms",
    53: "deltaRevocationList",
    54: "dmdName",
    65: "pseudonym",
  },
  // the COSINE pilot (RFC 4524)
  "0.9.2342.19200300.100.1": { 1: "uid", 3: "mail", 25: "dc", 37: "associatedDomain", 43: "co", 60: "jpegPhoto" },
  // inetOrgPerson (RFC 2798)
  "2.16.840.1.113730.3.1": {
    1: "carLicense",
    2: "departmentNumber",
    3: "employeeNumber",
    4: "employeeType",
    13: "mailLocalAddress",
    39: "preferredLanguage",
    40: "userSMIMECertificate",
    216: "userPKCS12",
    241: "displayName",
  },
  // PKCS #9 (RFC 2985)
  "1.2.840.113549.1.9": { 1: "email" },
  // eduPerson
  "1.3.6.1.4.1.5923.1.1.1": {
    1: "eduPersonAffiliation",
    2: "eduPersonNickname",
    3: "eduPersonOrgDN",
    4: "eduPersonOrgUnitDN",
    5: "eduPersonPrimaryAffiliation",
    6: "eduPersonPrincipalName",
    7: "eduPersonEntitlement",
    8: "eduPersonPrimaryOrgUnitDN",
    9: "eduPersonScopedAffiliation",
    10: "eduPersonTargetedID",
    11: "eduPersonAssurance",
    12: "eduPersonPrincipalNamePrior",
    13: "eduPersonUniqueId",
    16: "eduPersonOrcid",
  },
  // eduMember
  "1.3.6.1.4.1.5923.1.5.1": { 1: "isMemberOf" },
};

/** Prefix of names in the format "basic". */
const MACE = "urn:mace:dir:attribute-def:";
/** Prefix of the claims of Active Directory Federation Services. */
const ADFS = ["http://schemas.xmlsoap.org/claims/", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/"];
const ADFS_CLAIMS: Readonly<Record<string, string>> = {
  commonname: "commonName",
  emailaddress: "emailAddress",
  givenname: "givenName",
  group: "group",
  name: "name",
  nameidentifier: "nameId",
  privatepersonalidentifier: "privatePersonalId",
  role: "role",
  surname: "surname",
  upn: "upn",
};

const BY_NAME = new Map<string, string>();
for (const [arc, names] of Object.entries(OBJECT_IDS)) for (const [number, name] of Object.entries(names)) BY_NAME.set(`urn:oid:${arc}.${number}`, name);
for (const names of Object.values(OBJECT_IDS)) for (const name of Object.values(names)) BY_NAME.set(`${MACE}${name}`.toLowerCase(), name);
BY_NAME.set("http://schemas.microsoft.com/ws/2008/06/identity/claims/windowsaccountname", "windowsAccountName");
BY_NAME.set("http://schemas.microsoft.com/ws/2008/06/identity/claims/role", "role");
for (const prefix of ADFS) for (const [claim, name] of Object.entries(ADFS_CLAIMS)) BY_NAME.set(`${prefix}${claim}`, name);

/** What an attribute is called here; undefined for names that are not in the tables. */
export const localNameOf = (name: string): string | undefined => BY_NAME.get(name.trim().toLowerCase());
