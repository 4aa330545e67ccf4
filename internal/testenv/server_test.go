package testenv_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// conditionalPut creates a table and sees that a conditional write is refused when it should be.
func conditionalPut(t *testing.T, endpoint string) {
	t.Helper()
	client := dynamodb.NewFromConfig(testenv.AWSConfig(endpoint))
	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String("table"),
		BillingMode:          dynamotypes.BillingModePayPerRequest,
		AttributeDefinitions: []dynamotypes.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: "S"}},
		KeySchema:            []dynamotypes.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: "HASH"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	// dynalite has a table a moment after it has said so.
	wait := dynamodb.NewTableExistsWaiter(client, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay = 10 * time.Millisecond })
	if err := wait.Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("table")}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	put := func() error {
		_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName:           aws.String("table"),
			Item:                map[string]dynamotypes.AttributeValue{"id": &dynamotypes.AttributeValueMemberS{Value: "1"}},
			ConditionExpression: aws.String("attribute_not_exists(id)"),
		})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	var refused *dynamotypes.ConditionalCheckFailedException
	if err := put(); !errors.As(err, &refused) {
		t.Errorf("second write: %v, want a failed condition", err)
	}
}

func TestMoto(t *testing.T) {
	t.Parallel()
	proxy := testenv.Proxy(t, testenv.Moto(t).Endpoint)
	conditionalPut(t, proxy.Endpoint)

	config := testenv.AWSConfig(proxy.Endpoint)
	secrets := secretsmanager.NewFromConfig(config)
	_, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: aws.String("s"), SecretString: aws.String("hush"),
	})
	if err != nil {
		t.Fatal(err)
	}
	value, err := secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("s")})
	if err != nil {
		t.Fatal(err)
	}
	if *value.SecretString != "hush" {
		t.Errorf("secret %q", *value.SecretString)
	}

	keys := kms.NewFromConfig(config)
	key, err := keys.CreateKey(t.Context(), &kms.CreateKeyInput{
		KeySpec: kmstypes.KeySpecEccNistP256, KeyUsage: kmstypes.KeyUsageTypeSignVerify,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Sign(t.Context(), &kms.SignInput{
		KeyId: key.KeyMetadata.KeyId, Message: []byte("m"), SigningAlgorithm: kmstypes.SigningAlgorithmSpecEcdsaSha256,
	}); err != nil {
		t.Fatal(err)
	}

	counts := proxy.Counts()
	for name, want := range map[string]int{
		"DynamoDB.CreateTable": 1, "DynamoDB.PutItem": 2, "SecretsManager.GetSecretValue": 1, "KMS.Sign": 1,
	} {
		if counts[name] != want {
			t.Errorf("%s: %d calls counted, want %d", name, counts[name], want)
		}
	}
}

func TestDynalite(t *testing.T) {
	t.Parallel()
	conditionalPut(t, testenv.Dynalite(t))
}

func TestServersEndWithTheirTest(t *testing.T) {
	t.Parallel()
	var endpoints []string
	t.Run("servers", func(t *testing.T) {
		endpoints = []string{testenv.Dynalite(t), testenv.Moto(t).Endpoint}
	})
	for _, endpoint := range endpoints {
		if conn, err := net.Dial("tcp", strings.TrimPrefix(endpoint, "http://")); err == nil {
			conn.Close()
			t.Errorf("%s still listens", endpoint)
		}
	}
}

func TestScript(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		testenv.Script(t, "cfn-lint"): "cfn-lint 1.51.0",
		testenv.Python(t):             "Python 3.",
	} {
		out, err := exec.Command(path, "--version").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%s: %q, %v; want %q", path, out, err, want)
		}
	}
}

// TestServersEndWithAKilledTest kills a test binary that runs both servers and sees that they go too.
func TestServersEndWithAKilledTest(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestHelperServe$", "-test.v")
	cmd.Env = append(os.Environ(), "TESTENV_HELPER=1")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	// The helper waits for the end of its input, so it can't outlast this test either.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var endpoints []string
	lines := bufio.NewScanner(stdout)
	for len(endpoints) < 2 && lines.Scan() {
		if _, endpoint, ok := strings.Cut(lines.Text(), "serving http://"); ok {
			endpoints = append(endpoints, endpoint)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	if len(endpoints) != 2 {
		t.Fatalf("the helper started %d servers, want 2", len(endpoints))
	}

	deadline := time.Now().Add(10 * time.Second)
	for _, endpoint := range endpoints {
		for {
			conn, err := net.Dial("tcp", endpoint)
			if err != nil {
				break
			}
			conn.Close()
			if time.Now().After(deadline) {
				t.Fatalf("%s still listens", endpoint)
			}
			time.Sleep(10 * time.Millisecond) // the kernel ends them a moment after their parent
		}
	}
}

// TestHelperServe is the program that TestServersEndWithAKilledTest kills, and nothing otherwise.
func TestHelperServe(t *testing.T) {
	if os.Getenv("TESTENV_HELPER") == "" {
		return
	}
	fmt.Println("serving", testenv.Dynalite(t))
	fmt.Println("serving", testenv.Moto(t).Endpoint)
	_, _ = os.Stdin.Read(make([]byte, 1))
}
