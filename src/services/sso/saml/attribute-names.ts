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
  // PKCS #9 (RFC 2985), and as pysaml2, and so Synapse, has it
  "1.2.840.113549.1.9": { 1: "email", "1.1": "email" },
  // RFC 2079
  "1.3.6.1.4.1.250.1": { "57": "labeledURI", "57.57": "labeledURI" },
  // personal data of certificates (RFC 3739)
  "1.3.6.1.5.5.7.9": { 1: "dateOfBirth", 2: "placeOfBirth", 3: "gender", 4: "countryOfCitizenship", 5: "countryOfResidence" },
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
  // eduMember, eduCourse
  "1.3.6.1.4.1.5923.1.5.1": { 1: "isMemberOf" },
  "1.3.6.1.4.1.5923.1.6.1": { 1: "eduCourseOffering", 2: "eduCourseMember" },
  // SCHAC
  "1.3.6.1.4.1.25178.1.2": {
    1: "schacMotherTongue",
    2: "schacGender",
    3: "schacDateOfBirth",
    4: "schacPlaceOfBirth",
    5: "schacCountryOfCitizenship",
    6: "schacSn1",
    7: "schacSn2",
    8: "schacPersonalTitle",
    9: "schacHomeOrganization",
    10: "schacHomeOrganizationType",
    11: "schacCountryOfResidence",
    12: "schacUserPresenceID",
    13: "schacPersonalPosition",
    14: "schacPersonalUniqueCode",
    15: "schacPersonalUniqueID",
    17: "schacExpiryDate",
    18: "schacUserPrivateAttribute",
    19: "schacUserStatus",
    20: "schacProjectMembership",
    21: "schacProjectSpecificRole",
  },
  // voPerson
  "1.3.6.1.4.1.25178.4.1": {
    1: "voPersonApplicationUID",
    2: "voPersonAuthorName",
    3: "voPersonCertificateDN",
    4: "voPersonCertificateIssuerDN",
    5: "voPersonExternalID",
    6: "voPersonID",
    7: "voPersonPolicyAgreement",
    8: "voPersonSoRID",
    9: "voPersonStatus",
    10: "voPersonAffiliation",
    11: "voPersonExternalAffiliation",
    12: "voPersonScopedAffiliation",
    13: "voPersonApplicationPassword",
    14: "voPersonVerifiedEmail",
    15: "voPersonToken",
  },
  // norEdu (Feide)
  "1.3.6.1.4.1.2428.90.1": {
    1: "norEduOrgUniqueNumber",
    2: "norEduOrgUnitUniqueNumber",
    3: "norEduPersonBirthDate",
    4: "norEduPersonLIN",
    5: "norEduPersonNIN",
    6: "norEduOrgAcronym",
    7: "norEduOrgUniqueIdentifier",
    8: "norEduOrgUnitUniqueIdentifier",
    9: "federationFeideSchemaVersion",
    10: "norEduPersonLegalName",
    11: "norEduOrgSchemaVersion",
    12: "norEduOrgNIN",
  },
  // swissEduPerson
  "2.16.756.1.2.5.1.1": {
    1: "swissEduPersonUniqueID",
    2: "swissEduPersonDateOfBirth",
    3: "swissEduPersonGender",
    4: "swissEduPersonHomeOrganization",
    5: "swissEduPersonHomeOrganizationType",
    6: "swissEduPersonStudyBranch1",
    7: "swissEduPersonStudyBranch2",
    8: "swissEduPersonStudyBranch3",
    9: "swissEduPersonStudyLevel",
    10: "swissEduPersonStaffCategory",
    11: "swissEduPersonMatriculationNumber",
    12: "swissEduPersonCardUID",
    13: "swissEduID",
    1023: "swissLibraryPersonAffiliation",
    1025: "swissLibraryPersonResidence",
  },
  // Sweden: e-identification, health care, schools
  "1.2.752.201.3": {
    1: "orgAffiliation",
    2: "transactionIdentifier",
    3: "authContextParams",
    4: "prid",
    5: "pridPersistence",
    6: "personalIdentityNumberBinding",
    7: "eidasPersonIdentifier",
    8: "birthName",
    9: "eidasNaturalPersonAddress",
    10: "userCertificate",
    11: "userSignature",
    12: "sad",
    13: "authServerSignature",
    14: "signMessageDigest",
  },
  "1.2.752.29.4": { 1: "employeeHsaId", 13: "personalIdentityNumber" },
  "1.2.752.194.10.2": { 1: "sisLegalGuardianFor", 2: "sisSchoolGrade" },
  "1.3.6.1.4.1.42750.1.1": { 1: "EAAHash", 3: "EAAKey" },
  // Austria: Portalverbund
  "1.2.40.0.10.2.1.1": {
    1: "PVP-GID",
    3: "PVP-OU-GV-OU-ID",
    33: "PVP-FUNCTION",
    55: "PVP-BIRTHDATE",
    71: "PVP-PARTICIPANT-ID",
    149: "PVP-BPK",
    153: "PVP-OU-OKZ",
    "261.10": "PVP-VERSION",
    "261.20": "PVP-PRINCIPAL-NAME",
    "261.24": "PVP-PARTICIPANT-OKZ",
    "261.30": "PVP-ROLES",
    "261.40": "PVP-INVOICE-RECPT-ID",
    "261.50": "PVP-COST-CENTER-ID",
    "261.60": "PVP-CHARGE-CODE",
  },
  // Open Science
  "1.3.6.1.4.1.27630.2.1.1": {
    17: "osiHomeUrl",
    19: "osiPreferredTZ",
    72: "osiICardTimeLastUpdated",
    104: "osiMiddleName",
    107: "osiOtherEmail",
    109: "osiOtherHomePhone",
    120: "osiWorkURL",
  },
};

/** Addresses as names: the subject identifiers of SAML 2.0, and eIDAS, whose names are not always those that attributes have here. */
const ADDRESSES: Readonly<Record<string, string>> = {
  "urn:oasis:names:tc:SAML:attribute:subject-id": "subject-id",
  "urn:oasis:names:tc:SAML:attribute:pairwise-id": "pairwise-id",
};
const EIDAS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  legalperson: {
    LegalPersonIdentifier: "LegalPersonIdentifier",
    LegalPersonAddress: "LegalAddress",
    LegalName: "LegalName",
    VATRegistrationNumber: "VATRegistration",
    TaxReference: "TaxReference",
    BusinessCodes: "BusinessCodes",
    LEI: "LEI",
    EORI: "EORI",
    SEED: "SEED",
    SIC: "SIC",
    "D-2012-17-EUIdentifier": "D-2012-17-EUIdentifier",
  },
  naturalperson: {
    PersonIdentifier: "PersonIdentifier",
    CurrentFamilyName: "FamilyName",
    CurrentGivenName: "FirstName",
    DateOfBirth: "DateOfBirth",
    BirthName: "BirthName",
    PlaceOfBirth: "PlaceOfBirth",
    CurrentAddress: "CurrentAddress",
    Gender: "Gender",
  },
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

const MICROSOFT_CLAIMS = [
  "authenticationMethod",
  "denyOnlyPrimaryGroupSid",
  "denyOnlyPrimarySid",
  "groupSid",
  "primaryGroupSid",
  "primarySid",
  "role",
  "windowsAccountName",
];

const BY_NAME = new Map<string, string>();
for (const [arc, names] of Object.entries(OBJECT_IDS)) for (const [number, name] of Object.entries(names)) BY_NAME.set(`urn:oid:${arc}.${number}`, name);
for (const names of Object.values(OBJECT_IDS)) for (const name of Object.values(names)) BY_NAME.set(`${MACE}${name}`.toLowerCase(), name);
for (const [address, name] of Object.entries(ADDRESSES)) BY_NAME.set(address.toLowerCase(), name);
for (const [kind, names] of Object.entries(EIDAS))
  for (const [attribute, name] of Object.entries(names)) BY_NAME.set(`http://eidas.europa.eu/attributes/${kind}/${attribute}`.toLowerCase(), name);
for (const claim of MICROSOFT_CLAIMS) BY_NAME.set(`http://schemas.microsoft.com/ws/2008/06/identity/claims/${claim}`.toLowerCase(), claim);
BY_NAME.set("http://schemas.xmlsoap.com/ws/2005/05/identity/claims/denyonlysid", "denyOnlySid");
for (const prefix of ADFS) for (const [claim, name] of Object.entries(ADFS_CLAIMS)) BY_NAME.set(`${prefix}${claim}`, name);

/** What an attribute is called here; undefined for names that are not in the tables. Of directory names, which begin alike, it is the rest. */
export function localNameOf(name: string): string | undefined {
  const clean = name.trim();
  return BY_NAME.get(clean.toLowerCase()) ?? (clean.startsWith(MACE) && clean.length > MACE.length ? clean.slice(MACE.length) : undefined);
}
