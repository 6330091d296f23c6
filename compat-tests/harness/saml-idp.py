"""A SAML2 identity provider of pysaml2, as real ones are built with it: reads a JSON object a line, answers with one a line."""

import json
import sys

from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAME_FORMAT_URI, NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server

PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
BASE = "https://idp.example"


def configuration(key, certificate, sp=None):
    return IdPConfig().load(
        {
            "entityid": BASE + "/metadata",
            "key_file": key,
            "cert_file": certificate,
            "metadata": {"inline": [sp]} if sp is not None else {},
            "service": {
                "idp": {
                    "endpoints": {"single_sign_on_service": [(BASE + "/login", BINDING_HTTP_REDIRECT)]},
                    "policy": {"default": {"lifetime": {"minutes": 15}, "attribute_restrictions": None, "name_form": NAME_FORMAT_URI}},
                }
            },
        }
    )


class Provider:
    def __init__(self, key, certificate):
        self.files = (key, certificate)
        self.server = None

    def metadata(self, _):
        return str(entity_descriptor(configuration(*self.files)))

    def meet(self, asked):
        """Reads the metadata of a service provider; says what it understood of it."""
        self.server = Server(config=configuration(*self.files, asked["sp"]))
        store = self.server.metadata
        entity = next(iter(store.service_providers()))
        services = store.assertion_consumer_service(entity, binding=BINDING_HTTP_POST)
        return {
            "entity": entity,
            "acs": [service["location"] for service in services],
            "signing": len(store.certs(entity, "spsso", "signing")),
            "encryption": len(store.certs(entity, "spsso", "encryption")),
        }

    def respond(self, asked):
        """A response to a request, or to none; base64 is the caller's."""
        details = {"in_response_to": None, "sp_entity_id": asked.get("entity"), "destination": asked.get("acs")}
        if "request" in asked:
            request = self.server.parse_authn_request(asked["request"], BINDING_HTTP_REDIRECT)
            details = self.server.response_args(request.message)
            details.pop("binding", None)
        details.update(asked.get("override", {}))
        details.pop("name_id_policy", None)
        response = self.server.create_authn_response(
            identity=asked["identity"],
            userid=asked["identity"]["uid"],
            name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=asked["identity"]["uid"]),
            authn={"class_ref": PASSWORD, "authn_auth": BASE},
            sign_response=asked.get("sign_response", False),
            sign_assertion=asked.get("sign_assertion", False),
            encrypt_assertion=asked.get("encrypt", False),
            **details,
        )
        return str(response)


provider = Provider(sys.argv[1], sys.argv[2])
for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = {"answer": getattr(provider, asked["what"])(asked)}
    except Exception as error:  # the test says what it wanted
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
