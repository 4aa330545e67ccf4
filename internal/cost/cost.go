package cost

import (
	"errors"
	"math"
	"time"
)

// Month is the month of the estimates: 730 hours.
const Month = 730 * time.Hour

// What the code and the template have, which a test compares.
const (
	KeyReload  = 300.0 // seconds after which a sandbox reads its keys again
	FeedMemory = 5.0   // seconds that discovery serves the feed without a query
	Secrets    = 3     // that the template makes
	// Metrics that the template's alarms look at, each of which costs as much as an alarm; more with keys in KMS.
	AlarmMetrics    = 27
	KMSAlarmMetrics = 2
)

// What one request takes. Processor times were measured (docs/scale.md, docs/performance.md); the rest is what the template and the
// code say, or, where it says so, an assumption.
const (
	cpuRefresh    = 0.45 // ms: event in, verification, ES256 signature, log line and answer
	cpuToken      = 0.50 // ms, the same with a client's secret; assumed from the former
	cpuAuthorizer = 0.44 // ms of a token that is not in memory, frozen between invocations (docs/performance.md)
	cpuRS256      = 0.75 // ms that an RS256 signature in Go takes more
	waitRead      = 5.0  // ms of a DynamoDB read, assumed
	waitWrite     = 8.0  // ms of a conditional write, assumed
	waitKMS       = 10.0 // ms of a kms:Sign, assumed
	msDiscovery   = 1.0  // from memory
	mbDiscovery   = 1024
	msRotate      = 200.0 // of an hourly run with nothing due, assumed
	fullCPU       = 1769  // MB of memory at which a function has one processor

	queriesAPoll = 3
	keysRead     = 2 // secrets that a signing sandbox reloads
	readsARotate = 6 // three queries a ring
	routeMetrics = 6 // 4xx, 5xx, Count, Latency, IntegrationLatency, DataProcessed
	routesInUse  = 4 // token, refresh, JWKS, feed
	// The functions' own metrics (docs/observability.md) that are written month in, month out.
	metricsTokens     = 9 // of token and refresh: issued, refreshed, refused in all and by two or three reasons, the age of the revocations
	metricsKMS        = 2 // their latencies of KMS
	metricsAuthorizer = 7 // the cache's two, refused in all and by three reasons, the age of the revocations
	metricsIdle       = 1 // the keys' age
	refreshKeyAge     = 2 // KMS keys of a ring whose old key verifies for a grant more

	// Bytes: of logs, what Lambda says of an invocation and the API's access log (assumed) and the function's own line
	// (measured); of answers with their headers, measured.
	logInvocation = 600
	logToken      = 440 // a line of token, refresh or revoke
	logAuthorizer = 390
	logDiscovery  = 260
	logMetrics    = 400 // written every metricsWait seconds
	metricsWait   = 60.0
	logAccess     = 430
	answerSignIn  = 1600
	answerRefresh = 900
	answerFeed    = 2200
	answerJWKS    = 500
	itemClient    = 1000
	itemRevoked   = 200
)

// Settings are what an estimate is of.
type Settings struct {
	Requests       float64 `json:"requests"`          // a month, to APIs behind the authorizer
	API            string  `json:"api"`               // of those APIs: http or rest
	Paths          float64 `json:"paths"`             // methods and paths that a client calls by turns
	Clients        float64 `json:"clients"`           // each always has an access token
	AccessLifetime float64 `json:"access_lifetime_s"` // seconds
	GrantLifetime  float64 `json:"grant_lifetime_s"`  // seconds
	CacheTTL       float64 `json:"cache_ttl_s"`       // seconds
	Poll           float64 `json:"poll_s"`            // seconds
	HitRate        float64 `json:"hit_rate"`          // of the authorizer's cache, 0 to 1; below 0: estimated
	SignIns        float64 `json:"sign_ins"`          // a month; below 0: by the lifetimes
	Refreshes      float64 `json:"refreshes"`
	AccessKeys     string  `json:"access_key_mode"` // secretsmanager or kms
	Algorithm      string  `json:"access_key_algorithm"`
	RefreshKeys    string  `json:"refresh_key_mode"`
	Rotating       bool    `json:"rotating"`
	Revocations    float64 `json:"revocations"`
	Architecture   string  `json:"architecture"`
	MemoryMB       float64 `json:"memory_mb"` // of all functions but discovery
	LogDays        float64 `json:"log_days"`
	Peak           float64 `json:"peak"` // the busiest rate, of which sandboxes stay warm, as a multiple of the mean
	Alarm          bool    `json:"alarm"`
	Region         float64 `json:"region_factor"`
}

// Defaults are the template's and the client records', with some traffic.
func Defaults() Settings {
	return Settings{
		Requests: 10 * million, API: "http", Paths: 5, Clients: 100, AccessLifetime: 900, GrantLifetime: 86_400,
		CacheTTL: 10, Poll: 15, HitRate: -1, SignIns: -1, Refreshes: -1,
		AccessKeys: "secretsmanager", Algorithm: "ES256", RefreshKeys: "secretsmanager",
		Architecture: "arm64", MemoryMB: 256, LogDays: 30, Peak: 2, Region: 1,
	}
}

// check returns what is wrong with the settings. The words are for whoever set them.
func (s Settings) check() error {
	for _, n := range []float64{s.Requests, s.Clients, s.Revocations, s.SignIns, s.Refreshes, s.LogDays, s.HitRate} {
		if math.IsNaN(n) || math.IsInf(n, 0) || n > 1e15 {
			return errors.New("a quantity is not a number, or past 10^15")
		}
	}
	switch {
	case s.Requests < 0 || s.Clients < 0 || s.Revocations < 0 || s.LogDays < 0:
		return errors.New("a quantity is below 0")
	case s.API != "http" && s.API != "rest":
		return errors.New("the API is http or rest")
	case s.AccessKeys != "secretsmanager" && s.AccessKeys != "kms" || s.RefreshKeys != "secretsmanager" && s.RefreshKeys != "kms":
		return errors.New("a key mode is secretsmanager or kms")
	case s.Algorithm != "ES256" && s.Algorithm != "RS256" && s.Algorithm != "EdDSA":
		return errors.New("the algorithm is ES256, RS256 or EdDSA")
	case s.Algorithm == "EdDSA" && s.AccessKeys == "kms":
		return errors.New("EdDSA is not to be had with key mode kms")
	case s.Architecture != "arm64" && s.Architecture != "x86_64":
		return errors.New("the architecture is arm64 or x86_64")
	case !(s.MemoryMB >= 128 && s.MemoryMB <= 10240):
		return errors.New("memory is 128 to 10240 MB")
	case !(s.Paths >= 1 && s.Paths <= 1e6 && s.Peak >= 1 && s.Peak <= 1000 && s.Region > 0 && s.Region <= 100):
		return errors.New("paths and peak are 1 or more, the region's factor above 0 and at most 100")
	case s.HitRate > 1:
		return errors.New("a hit rate is at most 1")
	case !(s.AccessLifetime >= 1 && s.GrantLifetime >= 1 && s.Poll >= 1):
		return errors.New("a lifetime or the poll interval is below a second")
	case !(s.CacheTTL >= 0 && s.CacheTTL <= 3600):
		return errors.New("the authorizer's cache is kept 0 to 1h")
	}
	return nil
}

// The parts of an estimate.
const (
	Fixed      = "fixed"      // whatever the traffic
	Tokens     = "tokens"     // for signing in and refreshing
	Authorized = "authorized" // for requests to the APIs
	API        = "api"        // what the APIs' requests cost with or without Latchkey
)

// Line is a component of an estimate.
type Line struct {
	Part      string  `json:"part"`
	Component string  `json:"component"`
	Quantity  float64 `json:"quantity"`
	Unit      string  `json:"unit"`
	Price     string  `json:"price"` // its id
	Dollars   float64 `json:"dollars"`
}

// Figures are what is derived of the settings on the way.
type Figures struct {
	Tokens        float64 `json:"tokens"` // access tokens a month
	SignIns       float64 `json:"sign_ins"`
	Refreshes     float64 `json:"refreshes"`
	TokensPerS    float64 `json:"tokens_per_second"`
	RequestsPerS  float64 `json:"requests_per_second"`
	HitRate       float64 `json:"hit_rate"`
	Sandboxes     float64 `json:"sandboxes"`          // warm, of all functions that poll
	RefreshMS     float64 `json:"refresh_ms"`         // billed
	FeedPolls     float64 `json:"feed_polls"`         // a month
	KMSPerS       float64 `json:"kms_per_second"`     // at the peak
	SecretsPerS   float64 `json:"secrets_per_second"` // GetSecretValue
	GatewayPerS   float64 `json:"gateway_per_second"` // requests to API Gateway at the peak, the APIs' own not counted
	LogGB         float64 `json:"log_gb"`             // a month
	DynamoWritesS float64 `json:"dynamodb_writes_per_second"`
}

// Estimate is what a deployment costs a month.
type Estimate struct {
	Settings Settings           `json:"settings"`
	Figures  Figures            `json:"figures"`
	Lines    []Line             `json:"lines"`
	Parts    map[string]float64 `json:"parts"` // dollars by part
	Total    float64            `json:"total"`

	PerMillionTokens     float64 `json:"per_million_tokens"`     // without what is fixed; 0 where there is none
	PerMillionAuthorized float64 `json:"per_million_authorized"` // the same, without the APIs' own requests
}

// Of estimates. The error is of the settings, in words for whoever set them.
func Of(s Settings) (*Estimate, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	e := &Estimate{Settings: s}
	e.traffic()
	e.fixed()
	e.tokens()
	e.authorized()
	e.total()
	return e, nil
}

// traffic derives how many tokens there are: a client has one grant at a time, and in it one access token after another.
func (e *Estimate) traffic() {
	s, f := e.Settings, &e.Figures
	tokens := s.Clients * Month.Seconds() / s.AccessLifetime
	f.SignIns = min(tokens, s.Clients*Month.Seconds()/s.GrantLifetime)
	if s.SignIns >= 0 {
		f.SignIns = s.SignIns
	}
	f.Refreshes = max(0, tokens-f.SignIns)
	if s.Refreshes >= 0 {
		f.Refreshes = s.Refreshes
	}
	f.Tokens = f.SignIns + f.Refreshes
	f.TokensPerS = f.Tokens / Month.Seconds()
	f.RequestsPerS = s.Requests / Month.Seconds()
	f.HitRate = s.HitRate
	if s.HitRate < 0 {
		f.HitRate = hitRate(s)
	}
}

// hitRate is that of a cache which keeps an answer for a TTL from its making, for requests that come at random: of 1+rT
// requests in the mean, the first is a miss. The key is a client's token with the method and the path.
func hitRate(s Settings) float64 {
	if s.Clients == 0 {
		return 0
	}
	rT := s.Requests / Month.Seconds() / (s.Clients * s.Paths) * s.CacheTTL
	return rT / (1 + rT)
}

func (e *Estimate) add(part, component string, quantity float64, price string) {
	if quantity > 0 {
		e.Lines = append(e.Lines, Line{Part: part, Component: component, Quantity: quantity, Price: price})
	}
}

func (e *Estimate) fixed() {
	e.add(Fixed, "secrets", Secrets, secrets)
	keys := 0.0
	if e.Settings.AccessKeys == "kms" {
		keys++
	}
	if e.Settings.RefreshKeys == "kms" {
		keys += refreshKeyAge
	}
	e.add(Fixed, "KMS keys", keys, kmsKeys)
	if e.Settings.Alarm {
		watched := AlarmMetrics
		if keys > 0 {
			watched += KMSAlarmMetrics
		}
		e.add(Fixed, "alarms, by what they look at", float64(watched), alarms)
	}
	if e.Figures.Tokens > 0 {
		e.add(Fixed, "metrics by route, while in use", routesInUse*routeMetrics, metrics)
	}
	e.add(Fixed, "metrics of the functions", e.functionMetrics(), metrics)
	runs := Month.Hours()
	e.add(Fixed, "rotate, hourly: invocations", runs, lambdaRequests)
	e.add(Fixed, "rotate: duration", runs*msRotate/thousand*e.Settings.MemoryMB/1024, e.duration())
	e.add(Fixed, "rotate: reads", runs*readsARotate, dynamoReads)
}

func (e *Estimate) functionMetrics() float64 {
	n := float64(metricsIdle)
	if e.Figures.Tokens > 0 {
		n += metricsTokens
		if e.Settings.AccessKeys == "kms" || e.Settings.RefreshKeys == "kms" {
			n += metricsKMS
		}
	}
	if e.Settings.Requests > 0 {
		n += metricsAuthorizer
	}
	return n
}

func (e *Estimate) duration() string { return "lambda-" + e.Settings.Architecture }

// billed is how long an invocation is billed, in ms: processor time at the memory's share of a processor, and waiting.
func (e *Estimate) billed(cpu, wait float64) float64 {
	return math.Ceil(cpu/min(1, e.Settings.MemoryMB/fullCPU) + wait)
}

// warm is how many sandboxes of a function take a month's requests.
func (e *Estimate) warm(requests, ms float64) float64 {
	if requests == 0 {
		return 0
	}
	return math.Ceil(requests / Month.Seconds() * ms / thousand * e.Settings.Peak)
}

// each is how often something happens that each warm sandbox does at most once in so many seconds, and only for a request.
func each(requests, warm, every float64) float64 {
	return min(requests, warm*Month.Seconds()/every)
}

func (e *Estimate) function(part, name string, requests, ms float64) (warm float64) {
	e.add(part, name+": invocations", requests, lambdaRequests)
	e.add(part, name+": duration", requests*ms/thousand*e.Settings.MemoryMB/1024, e.duration())
	warm = e.warm(requests, ms)
	e.Figures.Sandboxes += warm
	return warm
}

func (e *Estimate) logs(part string, bytes float64) {
	gb := bytes / billion
	e.Figures.LogGB += gb
	e.add(part, "logs, ingested", gb, logsIn)
	e.add(part, "logs, kept", gb*e.Settings.LogDays/(Month.Hours()/24), logsKept)
}

func (e *Estimate) tokens() {
	s, f := e.Settings, &e.Figures
	if f.Tokens == 0 && s.Revocations == 0 {
		return
	}
	cpu, wait := 0.0, 0.0
	if s.AccessKeys == "kms" || s.RefreshKeys == "kms" {
		wait = waitKMS
	}
	if s.AccessKeys != "kms" && s.Algorithm == "RS256" {
		cpu = cpuRS256
	}
	refreshCPU, refreshWait := cpuRefresh+cpu, 0.0
	if s.AccessKeys == "kms" {
		refreshWait = waitKMS
	}
	if s.Rotating {
		refreshWait += waitWrite
	}
	f.RefreshMS = e.billed(refreshCPU, refreshWait)
	tokenMS := e.billed(cpuToken+cpu, wait+waitRead)

	requests := f.Tokens + s.Revocations
	e.add(Tokens, "HTTP API: token, refresh, revoke", requests, httpRequests)
	warm := e.function(Tokens, "token and revoke", f.SignIns+s.Revocations, tokenMS)
	reloads := each(f.SignIns, warm, KeyReload)
	polls := each(f.SignIns, warm, s.Poll)
	counts := each(f.SignIns, warm, metricsWait)
	warm = e.function(Tokens, "refresh", f.Refreshes, f.RefreshMS)
	reloads += each(f.Refreshes, warm, KeyReload)
	polls += each(f.Refreshes, warm, s.Poll)
	counts += each(f.Refreshes, warm, metricsWait)
	e.add(Tokens, "keys read", reloads*keysRead, secretReads)
	f.SecretsPerS = reloads * keysRead / Month.Seconds()

	e.add(Tokens, "clients read", f.SignIns+s.Revocations, dynamoReads)
	writes := 2 * s.Revocations // the revocation, and the client's count of them
	if s.Rotating {
		writes += f.Tokens
	}
	e.add(Tokens, "grants and revocations written", writes, dynamoWrites)
	f.DynamoWritesS = writes / Month.Seconds()
	stored := (s.Clients*itemClient + s.Revocations*itemRevoked) / billion
	if s.Rotating {
		stored += s.Clients * itemClient / billion
	}
	e.add(Tokens, "tables, stored", stored, dynamoStorage)
	e.add(Tokens, "tables, point-in-time recovery", stored, dynamoBackup)
	e.signatures()
	e.add(Tokens, "answers", (f.SignIns*answerSignIn+f.Refreshes*answerRefresh)/billion, transfer)
	e.discovery(Tokens, polls, 0)
	e.logs(Tokens, requests*(logInvocation+logToken+logAccess)+polls*(logInvocation+logDiscovery+logAccess)+counts*logMetrics)
	f.GatewayPerS += requests / Month.Seconds() * s.Peak
}

// signatures are those of KMS: one an access token, and one a refresh token that is made.
func (e *Estimate) signatures() {
	s, f := e.Settings, &e.Figures
	price, calls, refresh := kmsECC, 0.0, 0.0
	if s.Algorithm == "RS256" {
		price = kmsRSA
	}
	if s.AccessKeys == "kms" {
		calls = f.Tokens
	}
	if s.RefreshKeys == "kms" {
		refresh = f.SignIns
		if s.Rotating {
			refresh = f.Tokens
		}
	}
	e.add(Tokens, "access tokens signed by KMS", calls, price)
	e.add(Tokens, "refresh tokens signed by KMS", refresh, kmsECC)
	f.KMSPerS = (calls + refresh) / Month.Seconds() * s.Peak
}

// discovery is what polls of the feed and reads of the JWKS cost on the serving side.
func (e *Estimate) discovery(part string, polls, jwks float64) {
	requests := polls + jwks
	e.add(part, "feed and JWKS: HTTP API", requests, httpRequests)
	e.add(part, "feed and JWKS: invocations", requests, lambdaRequests)
	e.add(part, "feed and JWKS: duration", requests*msDiscovery/thousand*mbDiscovery/1024, e.duration())
	e.add(part, "feed: queries", queriesAPoll*each(polls, e.warm(polls, msDiscovery), FeedMemory), dynamoReads)
	e.add(part, "feed and JWKS: answers", (polls*answerFeed+jwks*answerJWKS)/billion, transfer)
	e.Figures.FeedPolls += polls
	e.Figures.GatewayPerS += requests / Month.Seconds() * e.Settings.Peak
}

func (e *Estimate) authorized() {
	s, f := e.Settings, e.Figures
	if s.API == "rest" {
		e.add(API, "your APIs' requests", s.Requests, restRequests)
	} else {
		e.add(API, "your APIs' requests", s.Requests, httpRequests)
	}
	asked := s.Requests * (1 - f.HitRate)
	warm := e.function(Authorized, "authorizer", asked, e.billed(cpuAuthorizer, 0))
	polls, jwks := each(asked, warm, s.Poll), each(asked, warm, KeyReload)
	e.discovery(Authorized, polls, jwks)
	e.logs(Authorized, asked*(logInvocation+logAuthorizer)+(polls+jwks)*(logInvocation+logDiscovery+logAccess)+each(asked, warm, metricsWait)*logMetrics)
}

// total prices the lines. A price's tiers are of all its lines together, each of which bears its share.
func (e *Estimate) total() {
	quantities, prices := map[string]float64{}, map[string]Price{}
	for _, p := range Prices() {
		prices[p.ID] = p
	}
	for _, l := range e.Lines {
		quantities[l.Price] += l.Quantity
	}
	e.Parts = map[string]float64{}
	for i := range e.Lines {
		l := &e.Lines[i]
		p := prices[l.Price]
		l.Unit = p.Unit
		l.Dollars = p.of(quantities[l.Price]) * l.Quantity / quantities[l.Price] * e.Settings.Region
		e.Parts[l.Part] += l.Dollars
		e.Total += l.Dollars
	}
	if n := e.Figures.Tokens; n > 0 {
		e.PerMillionTokens = e.Parts[Tokens] / n * million
	}
	if n := e.Settings.Requests; n > 0 {
		e.PerMillionAuthorized = e.Parts[Authorized] / n * million
	}
}
