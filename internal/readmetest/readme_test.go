// Package readmetest executes the commands of the README, as they are written there, in a copy of the repository.
package readmetest

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
	"github.com/latchkey-auth/latchkey/pkg/client"
	"github.com/latchkey-auth/latchkey/pkg/dynamostore"
)

// The README's blocks, in order. A line is known by its beginning; the rest of it may change, and what it prints then
// decides.
var plans = []plan{
	runBlock:    {"Run it", []line{{"make run", nil}}},
	flowBlock:   {"Run it", flow},
	toolBlock:   {"Run it", tool},
	samBlock:    {"Deploy it", []line{{"sam build", samBuilt}, {"sam deploy --guided", samDeployed}}},
	clientBlock: {"Deploy it", []line{{"make bin/latchkey", nothing}, {"bin/latchkey client create", oneSecret}}},
	localBlock:  {"Try it with sam local", []line{{"make sam-local", nil}}},
	localCommandsBlock: {"Try it with sam local", []line{
		{"sam build", samBuilt},
		{"sam local invoke RotateFunction", prints(`(?m)^\{"status": ?"SUCCESS"\}$`)},
		{"sam local start-api", nil},
	}},
	rulesBlock: {"Protect an API with it", []line{
		{"bin/latchkey routes check", prints(`(?m)^API \*, stage \*: \d+ rules, form route$`)},
		{"bin/latchkey routes explain", prints(`(?m)^allowed +yes`)},
	}},
	targetsBlock: {"Tests", []line{{"make test", prints(`gotestsum`)}, {"make check", prints(`golangci-lint`)}, {"make bench", prints(`-sections`)}}},
}

const (
	runBlock = iota
	flowBlock
	toolBlock
	samBlock
	clientBlock
	localBlock
	localCommandsBlock
	rulesBlock
	targetsBlock
)

var flow = []line{
	{"SECRET=", nothing},
	{"ANSWER=", tokens("orders:read orders:write", true)},
	{"ACCESS=", nothing},
	{"REFRESH=", nothing},
	{"curl -s -H", whoami},
	{"curl -s -d grant_type=refresh_token", tokens("orders:read", false)},
	{"PASSWORD=", nothing},
	{"curl -s -u \"demo:$SECRET\" -d grant_type=password", tokens("orders:read", true)},
}

var tool = []line{
	{"bin/latchkey client create", oneSecret},
	{"bin/latchkey client list", prints(`(?m)^demo +enabled`, `(?m)^shop +enabled .*orders:read orders:write +Web shop$`)},
	{"bin/latchkey client show", prints(`^shop: enabled\n`, `(?m)^  audience +https://api\.latchkey\.example$`)},
	{"bin/latchkey client rotate-secret", func(t *testing.T, out string) {
		oneSecret(t, out)
		prints(`(?m)^The old secret stays good until .* \(in (1 day|23 hours 59 minutes)\)\.$`)(t, out)
	}},
	{"bin/latchkey revoke --client", prints(`shop`)},
	{"bin/latchkey keys rotate", prints(`access`, `refresh`)},
	{"bin/latchkey keys list", prints(`(?m)^access +pending +ES256 `, `(?m)^access +signing +ES256 `, `(?m)^refresh +signing +HS256 `)},
	{`echo "$ACCESS" | bin/latchkey token inspect`, prints(`^Valid\. `, `"client_id": "demo"`)},
	{"bin/latchkey doctor", prints(`(?m)^ok +flow\.refused `, `(?m)^\d+ ok, 0 warnings, 0 failed, 0 skipped$`)},
}

// What the README's commands call the server by, and what a log may never have in it.
const address = "http://127.0.0.1:3000"

var (
	secret  = regexp.MustCompile(`lk_secret_\w+`)
	private = regexp.MustCompile(`lk_secret_|eyJ[\w-]{8,}\.`) // ids may have eyJ in them by chance
)

func nothing(t *testing.T, out string) {
	t.Helper()
	if out != "" {
		t.Errorf("it printed %s", out)
	}
}

func prints(patterns ...string) func(*testing.T, string) {
	return func(t *testing.T, out string) {
		t.Helper()
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(out) {
				t.Errorf("no %s in\n%s", p, out)
			}
		}
	}
}

// oneSecret is what shows a secret: once.
func oneSecret(t *testing.T, out string) {
	t.Helper()
	if n := len(secret.FindAllString(out, -1)); n != 1 || !strings.Contains(out, "it can't be shown again") {
		t.Errorf("%d secrets in\n%s", n, out)
	}
}

// tokens is a token endpoint's answer, of that scope.
func tokens(scope string, refreshToken bool) func(*testing.T, string) {
	return func(t *testing.T, out string) {
		t.Helper()
		var answer struct {
			AccessToken  string `json:"access_token"`
			RefreshToken string `json:"refresh_token"`
			TokenType    string `json:"token_type"`
			ExpiresIn    int    `json:"expires_in"`
			Scope        string
		}
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		if strings.Count(answer.AccessToken, ".") != 2 || answer.TokenType != "Bearer" || answer.ExpiresIn != 900 ||
			answer.Scope != scope || (answer.RefreshToken != "") != refreshToken {
			t.Errorf("want scope %q and a refresh token: %v, got %s", scope, refreshToken, out)
		}
	}
}

func whoami(t *testing.T, out string) {
	t.Helper()
	var answer struct {
		ClientID string `json:"client_id"`
		Scope    string
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if answer.ClientID != "demo" || answer.Scope != "orders:read orders:write" {
		t.Error(out)
	}
}

// TestREADME does what the README says, in its order.
func TestREADME(t *testing.T) {
	text := readme(t)
	blocks, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := match(blocks, plans); err != nil {
		t.Fatal(err)
	}
	dir := checkout(t)
	t.Run("run", func(t *testing.T) { testRun(t, dir, blocks) })
	t.Run("deploy", func(t *testing.T) { testDeploy(t, dir, blocks[samBlock]) })
	t.Run("register", func(t *testing.T) { testRegister(t, dir, blocks[clientBlock]) })
	t.Run("sam local", func(t *testing.T) { testSAMLocal(t, dir, blocks) })
	t.Run("rules", func(t *testing.T) {
		printed := shell{dir: dir, env: environment()}.run(t, blocks[rulesBlock].lines...)
		for i, l := range plans[rulesBlock].lines {
			l.check(t, printed[i])
		}
	})
	t.Run("make", func(t *testing.T) { testMake(t, dir, text, blocks[targetsBlock]) })
}

// testRun runs `make run`, all that is done beside it, and Ctrl-C.
func testRun(t *testing.T, dir string, blocks []block) {
	// That its port is the README's is seen without opening it, for it may be taken here.
	defaults := shell{dir: dir, env: environment()}.run(t, "make -pn help")[0]
	prints(`(?m)^PORT = 3000$`)(t, defaults)

	sh := shell{dir: dir, env: environment("PORT=0")}
	srv, match := sh.start(t, blocks[runBlock].lines[0], regexp.MustCompile(`(?s)^Latchkey runs on (http://127\.0\.0\.1:\d+),.*The other commands work meanwhile.*\n`))
	welcome, issuer := match[0], match[1]
	prints(`(?m)^  client id +demo$`, `(?m)^    ANSWER=\$\(curl `)(t, welcome)

	var lines []string
	for _, b := range blocks[flowBlock : toolBlock+1] {
		for _, l := range b.lines {
			lines = append(lines, strings.ReplaceAll(l, address, issuer))
		}
	}
	sh.env = environment()
	printed := sh.run(t, lines...)
	shown := make(map[string]bool)
	for i, l := range append(flow[:len(flow):len(flow)], tool...) {
		t.Run(l.begins, func(t *testing.T) { l.check(t, printed[i]) })
		for _, s := range secret.FindAllString(printed[i], -1) {
			if shown[s] {
				t.Errorf("%s shows a secret again", lines[i])
			}
			shown[s] = true
		}
	}
	if len(shown) != 2 {
		t.Errorf("%d secrets were shown, want the first and the second of the client", len(shown))
	}

	// Ended, it has printed nothing but its log since the welcome.
	log, ok := strings.CutPrefix(srv.interrupt(), welcome)
	if !ok {
		t.Fatal("the welcome is not the first that is printed")
	}
	for line := range strings.Lines(log) {
		if !json.Valid([]byte(line)) || private.MatchString(line) {
			t.Errorf("in the log: %s", line)
		}
	}
	prints(`"event":"token.issued"`, `"event":"token.refreshed"`)(t, log)
	if _, err := os.Stat(filepath.Join(dir, ".latchkey", "admin.sock")); !os.IsNotExist(err) {
		t.Errorf("its socket after its end: %v", err)
	}
}

// testRegister registers a client as with a stack that is up: the emulator has its tables.
func testRegister(t *testing.T, dir string, b block) {
	moto := testenv.Moto(t)
	tables := dynamostore.Tables{Clients: "clients", Keys: "keys", Revocations: "revocations"}
	db := dynamodb.NewFromConfig(testenv.AWSConfig(moto.Endpoint))
	if err := dynamostore.CreateTables(t.Context(), db, tables); err != nil {
		t.Fatal(err)
	}
	env := append(awsEnvironment(t, moto.Endpoint), "CLIENTS_TABLE="+tables.Clients, "AUDIENCE=https://api.example.com")
	printed := shell{dir: dir, env: environment(env...)}.run(t, b.lines...)
	for i, l := range plans[clientBlock].lines {
		l.check(t, printed[i])
	}
	store, err := dynamostore.New(db, tables)
	if err != nil {
		t.Fatal(err)
	}
	record, err := (&client.Registry{Store: store}).Get(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if record.Scopes.String() != "orders:read orders:write" || len(record.Audiences) != 1 || record.Audiences[0] != "https://api.example.com" {
		t.Errorf("registered with scope %s, audiences %v", record.Scopes, record.Audiences)
	}
}

// inlineMake is make's commands within the README's sentences.
var inlineMake = regexp.MustCompile("`((?:[A-Z]+=\\w+ )?make [a-z/-]+)`")

// testMake is a dry run: this test is a part of `make test`, which would run itself. What the targets do is seen when
// they are run, which .ci/run does but for the benchmarks.
func testMake(t *testing.T, dir, text string, b block) {
	sh := shell{dir: dir, env: environment()}
	dry := func(command string) string { return strings.Replace(command, "make ", "make -n ", 1) }
	var lines []string
	for _, l := range b.lines {
		lines = append(lines, dry(l))
	}
	for i, out := range sh.run(t, lines...) {
		plans[targetsBlock].lines[i].check(t, out)
	}

	lines = nil
	for _, match := range inlineMake.FindAllStringSubmatch(text, -1) {
		lines = append(lines, dry(match[1]))
	}
	if len(lines) == 0 {
		t.Fatal("no make command within the sentences")
	}
	sh.run(t, lines...)
}

// testDeploy builds for real, and deploys to an emulator of CloudFormation and S3 up to the last question: the change
// set is made, and Enter, as the answer to each question, does not deploy it.
//
// It proves that the build makes what the template asks for; that the questions have defaults which deploy; that the
// package, each function's archive and the template, is uploaded; and that the change set is asked for with the
// parameters' defaults and permission to make roles. It does not prove that CloudFormation accepts the template, which
// the emulator does not look at closely (it makes no SAM transform, and lists resources whose condition is false), nor
// that the stack works on AWS. internal/deploytest looks at the template, internal/e2e at the functions.
func testDeploy(t *testing.T, dir string, b block) {
	if os.Getenv("LATCHKEY_SAM") != "1" {
		t.Skip("make test-sam runs this, with the SAM CLI")
	}
	moto := testenv.Moto(t)
	// moto knows a template's address in its own S3 by this host's name; at 127.0.0.1 it takes the 127 for the bucket.
	env := append(awsEnvironment(t, strings.Replace(moto.Endpoint, "127.0.0.1", "localhost", 1)), testenv.SAM(t)...)
	sh := shell{dir: dir, env: environment(env...), stdin: strings.Repeat("\n", 200)}

	prints(`is a valid SAM Template`)(t, sh.run(t, "sam validate --lint")[0])
	stack := filepath.Join(testenv.Root(t), "internal", "readmetest", "managedstack.py")
	sh.run(t, fmt.Sprintf("%q %q", testenv.Python(t), stack))
	printed := sh.run(t, b.lines...)
	for i, l := range plans[samBlock].lines {
		l.check(t, printed[i])
	}
	builtFor(t, dir, elf.EM_AARCH64)

	samBuilt(t, sh.run(t, "sam build --parameter-overrides Architecture=x86_64")[0])
	builtFor(t, dir, elf.EM_X86_64)
}

// What `make sam-local` prints of the flow, and what that prints in turn.
var localFlow = []line{
	{"ANSWER=", tokens("orders:read orders:write", true)},
	{"ACCESS=", nothing},
	{"REFRESH=", nothing},
	{"curl -s -H", whoami},
	{"curl -s -d grant_type=refresh_token", tokens("orders:read", false)},
	{"curl -s -u", prints(`^\{\}$`)},
	{"curl -s -i", prints(`(?m)^HTTP/1.1 502 `)},
}

// testSAMLocal runs `make sam-local`, what the README has beside it, and what it prints.
func testSAMLocal(t *testing.T, dir string, blocks []block) {
	if os.Getenv("LATCHKEY_SAM") != "1" {
		t.Skip("make test-sam runs this, with the SAM CLI and a Docker engine")
	}
	sh := shell{dir: dir, env: environment(append(testenv.SAM(t), "PORT=0", "EMULATOR_PORT=0")...)}
	if err := os.Symlink(filepath.Join(testenv.Root(t), ".testenv"), filepath.Join(dir, ".testenv")); err != nil {
		t.Fatal(err)
	}
	emulator, match := sh.start(t, blocks[localBlock].lines[0],
		regexp.MustCompile(`(?s)AWS for sam local is on http://[0-9.]+:(\d+): .*\n\nThe flow, [^\n]*\n\n(.*; echo\n)`))
	port, commands := match[1], match[2]

	// The samples name its default port, which may be taken here.
	sh.run(t, "sed -i.bak s/:4566/:"+port+"/ events/rotate-custom-resource-*.json")
	lines := blocks[localCommandsBlock].lines
	for i, out := range sh.run(t, lines[:2]...) {
		plans[localCommandsBlock].lines[i].check(t, out)
	}
	api, _ := sh.start(t, lines[2], regexp.MustCompile(`Press CTRL\+C to quit`))

	var flow []string
	for line := range strings.Lines(commands) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			flow = append(flow, strings.TrimSpace(command))
		}
	}
	if len(flow) != len(localFlow) {
		t.Fatalf("the flow has %d commands, %d are known here:\n%s", len(flow), len(localFlow), commands)
	}
	// The last one is as it should be after a while.
	last := len(flow) - 1
	session := append(flow[:last:last], "until OUT=$("+flow[last]+"); echo \"$OUT\"; [[ $OUT == *' 502 '* ]]; do sleep 2; done")
	for i, out := range sh.run(t, session...) {
		if !strings.HasPrefix(flow[i], localFlow[i].begins) {
			t.Errorf("the flow has %s, want %s", flow[i], localFlow[i].begins)
		}
		localFlow[i].check(t, out)
	}
	api.interrupt()
	emulator.interrupt()
}

func samBuilt(t *testing.T, out string) {
	t.Helper()
	prints(`(?m)^Build Succeeded$`)(t, out)
}

func samDeployed(t *testing.T, out string) {
	t.Helper()
	prints(`(?m)^Initiating deployment$`, `(?m)^\s+Capabilities +: \["CAPABILITY_IAM"\]$`, `Changeset created successfully`,
		`Deploy this changeset\? \[y/N\]:$`)(t, out)

	template := deploytest.Load(t)
	want := make(map[string]string)
	for name, p := range template.Parameters {
		want[name] = fmt.Sprint(p.Default)
	}
	overrides := regexp.MustCompile(`(?m)^\s+Parameter overrides +: (.*)$`).FindStringSubmatch(out)
	if overrides == nil {
		t.Fatalf("no parameters in\n%s", out)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(overrides[1]), &got); err != nil {
		t.Fatalf("the parameters %s: %v", overrides[1], err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("deployed with %v, want the template's defaults %v", got, want)
	}
	for name := range template.Source {
		prints(`(?m)^\+ Add +`+name[:min(len(name), 22)])(t, out)
	}
}

// builtFor sees that each function was built for that architecture.
func builtFor(t *testing.T, dir string, machine elf.Machine) {
	t.Helper()
	functions := 0
	for name, r := range deploytest.Load(t).Source {
		if r.Type != "AWS::Serverless::Function" {
			continue
		}
		functions++
		file, err := elf.Open(filepath.Join(dir, ".aws-sam", "build", name, "bootstrap"))
		if err != nil {
			t.Error(err)
			continue
		}
		if file.Machine != machine {
			t.Errorf("%s was built for %v, want %v", name, file.Machine, machine)
		}
		file.Close()
	}
	if functions == 0 {
		t.Error("the template has no function")
	}
}
