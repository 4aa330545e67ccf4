"""Has Authlib, requests-oauthlib and joserfc go through what each supports, and says what came of it in their terms."""
import json
import os
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # http, as on a laptop

import requests
from authlib.integrations.requests_client import OAuth2Session as Authlib
from authlib.oauth2.rfc8414 import get_well_known_url
from joserfc import errors, jwt
from joserfc.jwk import KeySet
from oauthlib.oauth2 import BackendApplicationClient, LegacyApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

given = json.load(sys.stdin)
issuer, client_id, secret = given["issuer"], given["client_id"], given["client_secret"]
token_url, refresh_url = issuer + "/oauth2/token", issuer + "/oauth2/refresh"
whoami_url = given["whoami_url"]
person = {"username": given["username"], "password": given["password"]}


def refusal(call, *args, **kwargs):
    """What a library raises: both have the same names for it."""
    try:
        call(*args, **kwargs)
    except Exception as e:
        return {"error": getattr(e, "error", repr(e)), "description": getattr(e, "description", ""), "status": getattr(e, "status_code", None)}
    return {"error": "none", "description": "", "status": None}


def authlib():
    metadata = requests.get(get_well_known_url(issuer, external=True)).json()
    client = Authlib(client_id, secret)
    grant = client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    called = client.get(whoami_url).json()["scope"]
    post = Authlib(client_id, secret, token_endpoint_auth_method="client_secret_post", scope="orders:write")
    user = Authlib(client_id, secret)
    signed_in = user.fetch_token(token_url, **person)
    bare = Authlib(client_id, token_endpoint_auth_method="none")
    wrong = refusal(Authlib(client_id, given["wrong_secret"]).fetch_token, token_url, grant_type="client_credentials")
    refresh = grant["refresh_token"]

    def introspect(token):
        return client.introspect_token(metadata["introspection_endpoint"], token=token).json()["active"]

    row = {
        "discovery": metadata["token_endpoint"],
        "sign-in": grant["scope"],
        "sign-in by post": post.fetch_token(token_url, grant_type="client_credentials")["scope"],
        "password": signed_in["scope"],
        "called": called,
        "introspected": f"{introspect(grant['access_token'])} {introspect(refresh)}".lower(),
        "more than granted": refusal(client.refresh_token, token_url, refresh, scope="orders:delete")["error"],
        "narrower": client.refresh_token(token_url, refresh, scope="orders:read")["scope"],
        "wider again": client.refresh_token(token_url, refresh, scope="orders:read orders:write")["scope"],
        "without the secret": bare.refresh_token(refresh_url, refresh, scope="orders:write")["scope"],
        "wrong secret": wrong["error"],
        "description": wrong["description"],
    }
    user.revoke_token(metadata["revocation_endpoint"], token=signed_in["refresh_token"], token_type_hint="refresh_token")
    row["revoked"] = signed_in["access_token"]
    return row


def requests_oauthlib():
    basic = HTTPBasicAuth(client_id, secret)
    client = OAuth2Session(client=BackendApplicationClient(client_id))
    grant = client.fetch_token(token_url, auth=basic)
    called = client.get(whoami_url).json()["scope"]
    post = OAuth2Session(client=BackendApplicationClient(client_id, scope="orders:write"))
    user = OAuth2Session(client=LegacyApplicationClient(client_id))
    signed_in = user.fetch_token(token_url, auth=basic, **person)
    wrong = refusal(OAuth2Session(client=BackendApplicationClient(client_id)).fetch_token, token_url, auth=HTTPBasicAuth(client_id, given["wrong_secret"]))
    refresh = grant["refresh_token"]

    def again(url, auth, scope, **kwargs):
        client.scope = scope  # refresh_token takes none of its own
        return " ".join(client.refresh_token(url, refresh, auth=auth, **kwargs)["scope"])

    return {
        "sign-in": " ".join(grant["scope"]),
        "sign-in by post": " ".join(post.fetch_token(token_url, client_secret=secret, include_client_id=True)["scope"]),
        "password": " ".join(signed_in["scope"]),
        "called": called,
        "more than granted": refusal(again, token_url, basic, scope="orders:delete")["error"],
        "narrower": again(token_url, basic, scope="orders:read"),
        "wider again": again(token_url, basic, scope="orders:read orders:write"),
        "without the secret": again(refresh_url, None, scope="orders:write", client_id=client_id),
        "wrong secret": wrong["error"],
        "status": wrong["status"],
        "description": wrong["description"],
    }


def joserfc():
    keys = KeySet.import_key_set(requests.get(issuer + "/.well-known/jwks.json").json())
    claims = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer}, aud={"essential": True, "value": given["audience"]},
        exp={"essential": True}, sub={"essential": True},
    )
    verdicts = {}
    for name, token in given["tokens"].items():
        try:
            decoded = jwt.decode(token, keys, algorithms=[given["algorithm"]])
            if decoded.header.get("typ") != "at+jwt" or "cnf" in decoded.claims:  # RFC 9068 section 4; a bound token is no bearer token
                raise errors.InvalidClaimError("typ or cnf")
            claims.validate(decoded.claims)
            verdicts[name] = {"claims": decoded.claims}
        except Exception as e:
            verdicts[name] = {"error": f"{type(e).__name__}: {e}"}
    return verdicts


with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
    warnings.simplefilter("ignore")
    rows = [pool.submit(client) for client in (authlib, requests_oauthlib, joserfc)]
    one, other, verdicts = (row.result() for row in rows)
print(json.dumps({"rows": {"Authlib": one, "requests-oauthlib": other}, "verdicts": verdicts}))
