// Package cost estimates what a deployment of the template costs a month, by list prices and by what one request was measured
// to take. It is arithmetic: it asks AWS nothing, and free tiers and discounts are left out.
package cost

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Read is when the prices' sources were looked up. The sources are stored copies of pages, some of them older.
const Read = "2026-11"

// Unchecked stands where no source was found.
const Unchecked = "unchecked, from general knowledge"

// Price is a list price of us-east-1, in dollars.
type Price struct {
	ID     string  `json:"id"`
	What   string  `json:"what"`
	Per    float64 `json:"per"`   // how many units a tier's price buys
	Unit   string  `json:"unit"`  // what is counted
	Tiers  []Tier  `json:"tiers"` // by the month's quantity, ascending
	Source string  `json:"source"`
}

// Tier is a part of a month's quantity and its price.
type Tier struct {
	Units float64 `json:"units"` // how many units are in it; 0, of the last alone: all that is left
	Price float64 `json:"price"`
}

const (
	million  = 1e6
	billion  = 1e9
	thousand = 1e3
)

// The ids of the prices.
const (
	lambdaRequests = "lambda-requests"
	lambdaArm      = "lambda-arm64"
	lambdaX86      = "lambda-x86_64"
	httpRequests   = "http-api"
	restRequests   = "rest-api"
	dynamoReads    = "dynamodb-reads"
	dynamoWrites   = "dynamodb-writes"
	dynamoStorage  = "dynamodb-storage"
	dynamoBackup   = "dynamodb-pitr"
	secrets        = "secrets"
	secretReads    = "secret-reads"
	kmsKeys        = "kms-keys"
	kmsRSA         = "kms-sign-rsa"
	kmsECC         = "kms-sign-ecc"
	logsIn         = "logs-in"
	logsKept       = "logs-kept"
	metrics        = "metrics"
	alarms         = "alarms"
	transfer       = "transfer-out"
)

func flat(price float64) []Tier { return []Tier{{0, price}} }

const (
	apiGatewayPaper = "docs.aws.amazon.com/pt_br/whitepapers/latest/best-practices-api-gateway-private-apis-integration/cost-optimization.html"
	secretsPage     = "aws.amazon.com/secrets-manager/pricing, as api-evangelist/amazon-secrets-manager read it 2026-09-20"
	dynamoPage      = "airbyte.com/data-engineering-resources/dynamodb-pricing"
	lambdaPage      = "cloudchipr.com/blog/aws-lambda-pricing"
	kmsDoubt        = "; sources disagree (wring.co/blog/aws-kms-pricing-guide: $0.03 for both; factualminds.com: 5 times the symmetric $0.03)"
)

// Prices are all that an estimate is made of.
func Prices() []Price {
	return []Price{
		{lambdaRequests, "Lambda invocations", million, "requests", flat(0.20),
			"aws.amazon.com/lambda/pricing, as api-evangelist/aws-lambda read it 2026-09-20"},
		{lambdaArm, "Lambda duration, arm64", 1, "GB-s", []Tier{{7.5 * billion, 0.0000133334}, {0, 0.0000120001}}, lambdaPage},
		{lambdaX86, "Lambda duration, x86_64", 1, "GB-s", []Tier{{6 * billion, 0.0000166667}, {9 * billion, 0.000015}, {0, 0.000013334}}, lambdaPage},
		{httpRequests, "HTTP API requests", million, "requests", []Tier{{300 * million, 1.00}, {0, 0.90}}, apiGatewayPaper},
		{restRequests, "REST API requests", million, "requests",
			[]Tier{{333 * million, 3.50}, {667 * million, 2.80}, {19 * billion, 2.38}, {0, 1.51}}, apiGatewayPaper},
		{dynamoReads, "DynamoDB reads, on demand", million, "RRU", flat(0.125), dynamoPage},
		{dynamoWrites, "DynamoDB writes, on demand", million, "WRU", flat(0.625), dynamoPage},
		{dynamoStorage, "DynamoDB storage", 1, "GB-month", flat(0.25), Unchecked},
		{dynamoBackup, "DynamoDB point-in-time recovery", 1, "GB-month", flat(0.20), Unchecked},
		{secrets, "Secrets Manager secrets", 1, "secret-month", flat(0.40), secretsPage},
		{secretReads, "Secrets Manager calls", 10 * thousand, "calls", flat(0.05), secretsPage},
		{kmsKeys, "KMS keys", 1, "key-month", flat(1.00), "aws.amazon.com/kms/pricing"},
		{kmsRSA, "KMS signatures, RSA 2048", 10 * thousand, "calls", flat(0.03), Unchecked + kmsDoubt},
		{kmsECC, "KMS signatures, P-256", 10 * thousand, "calls", flat(0.15), Unchecked + kmsDoubt},
		{logsIn, "CloudWatch Logs, ingested (Lambda's and vended)", 1, "GB",
			[]Tier{{10 * thousand, 0.50}, {20 * thousand, 0.25}, {20 * thousand, 0.10}, {0, 0.05}},
			"duckbillgroup.com/?p=9080: $0.50 at first, 60 TB for $12,500; the tiers' bounds " + Unchecked},
		{logsKept, "CloudWatch Logs, kept", 1, "GB-month", flat(0.03), "hykell.com/kb/platform-specific-guides/aws-cloudwatch-logs-pricing"},
		{metrics, "CloudWatch metrics", 1, "metric-month", flat(0.30), "signoz.io/guides/cloudwatch-pricing"},
		{alarms, "CloudWatch alarms", 1, "alarm-month", flat(0.10), "infracost's output in github.com/vreutova/infracost-idem-support/pull/2"},
		{transfer, "data out to the internet", 1, "GB", flat(0.09), "apigatewaycost.com/aws; volume tiers left out"},
	}
}

// of is what a month's quantity costs.
func (p Price) of(units float64) float64 {
	cost, left := 0.0, units
	for _, t := range p.Tiers {
		n := left
		if t.Units > 0 {
			n = min(left, t.Units)
		}
		cost += n / p.Per * t.Price
		left -= n
	}
	return cost
}

// Words are the tiers as docs/cost.md has them: "$1.00 for 1 million requests; $0.90 past 300 million".
func (p Price) Words() string {
	words, past := "", 0.0
	for i, t := range p.Tiers {
		if i == 0 {
			words = fmt.Sprintf("$%s %s", money(t.Price), per(p.Per, p.Unit))
		} else {
			words += fmt.Sprintf("; $%s past %s", money(t.Price), Short(past))
		}
		past += t.Units
	}
	return words
}

func per(n float64, unit string) string {
	if n == 1 {
		if strings.HasPrefix(unit, "alarm") {
			return "an " + unit
		}
		return "a " + unit
	}
	return "for " + Short(n) + " " + unit
}

// money is an amount with as many digits as it needs, two after the point at least.
func money(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if _, cents, _ := strings.Cut(s, "."); len(cents) < 2 {
		return fmt.Sprintf("%.2f", v)
	}
	return s
}

// Short is a quantity in four digits or so: "1234", "12.34 thousand", "438 billion".
func Short(v float64) string {
	for _, u := range []struct {
		size, unit float64
		name       string
	}{{billion, billion, " billion"}, {million, million, " million"}, {10 * thousand, thousand, " thousand"}} {
		if v >= u.size {
			return strconv.FormatFloat(round(v/u.unit), 'f', -1, 64) + u.name
		}
	}
	return strconv.FormatFloat(round(v), 'f', -1, 64)
}

// round leaves four digits of what is below 1,000, and whole numbers above.
func round(v float64) float64 {
	if v >= thousand {
		return math.Round(v)
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	if err != nil {
		return v // it was made of a number
	}
	return r
}
