//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/latchkey-auth/latchkey/pkg/oauth"
	"github.com/latchkey-auth/latchkey/pkg/revocation"
)

// fromContainers is what containers call this machine.
const fromContainers = "host.docker.internal"

// samConfig is the SAM CLI's configuration for what was set up.
func (l *local) samConfig() string {
	api := origin(fromContainers, l.apiPort)
	parameters := []string{
		"Architecture=" + l.architecture,
		"AllowHttp=true",
		"Issuer=" + l.api(),
		"Audience=" + audience,
		"JwksUrl=" + api + oauth.PathJWKS,
		"RevocationsUrl=" + api + revocation.PathFeed,
		"LocalEndpoint=" + origin(fromContainers, l.port),
	}
	local := fmt.Sprintf(`region = "%s"
add_host = ["%s:host-gateway"]
skip_pull_image = %v
parameter_overrides = [
    "%s",
]
`, region, fromContainers, l.hasImage, strings.Join(parameters, "\",\n    \""))
	return fmt.Sprintf(`# Written by make sam-local, and good for as long as it runs.
version = 0.1

[default.build.parameters]
parallel = true
build_in_source = true
parameter_overrides = ["Architecture=%[1]s"]

[default.local_invoke.parameters]
%[2]s
[default.local_start_api.parameters]
host = "%[3]s"
port = %[4]d
# One container a function, there from the start and kept: caches live in it as they do on Lambda.
warm_containers = "EAGER"
%[2]s
[default.local_start_lambda.parameters]
host = "%[3]s"
warm_containers = "EAGER"
%[2]s`, l.architecture, local, l.host, l.apiPort)
}

// writeFile replaces the file.
func writeFile(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

// welcome says what there is, and what to do with it.
func (l *local) welcome(config string) string {
	api := l.api()
	return fmt.Sprintf(`AWS for sam local is on %s: the template's tables and secrets, and a client. Ctrl-C stops it, and it keeps nothing.

In another shell, the second line makes the first keys, as a deployment does, and the last one serves the template on %s:

    sam build --config-file %[3]s
    sam local invoke RotateFunction --event events/rotate-custom-resource-create.json --config-file %[3]s
    sam local start-api --config-file %[3]s

The flow, to be pasted line by line into a third one:

    ANSWER=$(curl -s -u '%[4]s:%[5]s' -d grant_type=client_credentials %[2]s%[6]s); echo "$ANSWER"
    ACCESS=$(echo "$ANSWER" | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
    REFRESH=$(echo "$ANSWER" | sed 's/.*"refresh_token":"\([^"]*\)".*/\1/')
    curl -s -H "Authorization: Bearer $ACCESS" %[2]s/whoami; echo
    curl -s -d grant_type=refresh_token -d client_id=%[4]s -d "refresh_token=$REFRESH" -d scope=orders:read %[2]s%[7]s; echo
    curl -s -u '%[4]s:%[5]s' -d "token=$ACCESS" %[2]s%[8]s; echo

Within half a minute the token is refused, with 502, which is sam local's way of saying 401:

    curl -s -i -H "Authorization: Bearer $ACCESS" %[2]s/whoami; echo
`, l.endpoint(), api, config, clientID, l.secret, oauth.PathToken, oauth.PathRefresh, oauth.PathRevoke)
}
