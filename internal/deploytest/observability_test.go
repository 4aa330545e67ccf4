package deploytest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/cost"
	"github.com/latchkey-auth/latchkey/internal/deploytest"
	"github.com/latchkey-auth/latchkey/internal/testenv"
)

func TestLogs(t *testing.T) {
	stack := deploy(t, map[string]string{"RestAccessLogs": "true", "LogRetentionDays": "7"})
	groups := ofType(t, stack.Resources, "AWS::Logs::LogGroup")
	want := []string{"HttpAccessLogs", "RestAccessLogGroup"}
	for _, name := range functions {
		want = append(want, name+"Logs")
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, groups); diff != "" {
		t.Errorf("log groups (-want +got):\n%s", diff)
	}
	for _, id := range groups {
		check(t, stack, id, "7", "RetentionInDays")
	}

	check(t, stack, "HttpStage", "${HttpAccessLogs.Arn}", "AccessLogSettings", "DestinationArn")
	check(t, stack, "RestStage", "${RestAccessLogGroup.Arn}", "AccessLogSetting", "DestinationArn")
	// Not error.messageString: that brings quotes of its own.
	safe := strings.Fields(`authorizer.error authorizer.latency authorizer.reason authorizer.status error.message error.responseType
		httpMethod identity.sourceIp integrationErrorMessage integrationLatency integrationStatus protocol requestId
		requestTime resourcePath responseLatency responseLength routeKey status`)
	for stage, setting := range map[string]string{"HttpStage": "AccessLogSettings", "RestStage": "AccessLogSetting"} {
		format, _ := at(stack.Resources[stage].Properties, setting, "Format").(string)
		// Quoted fields: a value that is missing is "-".
		var line map[string]string
		if err := json.Unmarshal([]byte(format), &line); err != nil || strings.Contains(format, "\n") {
			t.Errorf("%s: the log format is not one line of JSON: %v", stage, err)
		}
		for _, value := range line {
			if !slices.Contains(safe, strings.TrimPrefix(value, "$context.")) {
				t.Errorf("%s: %q is not known to be safe in a log", stage, value)
			}
		}
		if len(line) == 0 {
			t.Errorf("%s: nothing is logged", stage)
		}
	}
	if deploy(t, nil).Resources["RestStage"].Properties["AccessLogSetting"] != nil {
		t.Error("access logs of the REST API are on by default, which fails in an account that has no role for them")
	}
}

// Who verifies tokens tells the age of its copy of the revocations; an alarm listens to all of them.
func TestStalenessIsMeasured(t *testing.T) {
	stack := deploy(t, map[string]string{"AlarmTopicArn": topic, "StalenessAlarmAge": "90"})
	var measured []string
	for _, id := range ofType(t, stack.Resources, "AWS::Logs::MetricFilter") {
		if id == "HttpThrottled" {
			continue
		}
		measured = append(measured, deploytest.Render(stack.Resources[id].Properties["LogGroupName"]))
		check(t, stack, id, `{ $.event = "revocations.poll_failed" }`, "FilterPattern")
		check(t, stack, id, `[{"MetricName":"RevocationsAge","MetricNamespace":{"Fn::Sub":"Latchkey/${AWS::StackName}"},"MetricValue":"$.age_s","Unit":"Seconds"}]`, "MetricTransformations")
	}
	var polls []string
	for _, id := range ofType(t, stack.Resources, "AWS::Lambda::Function") {
		if at(stack.Resources[id].Properties, "Environment", "Variables", "REVOCATIONS_URL") != nil {
			polls = append(polls, "${"+strings.TrimSuffix(id, "Function")+"Logs}")
		}
	}
	slices.Sort(measured)
	if !slices.Equal(measured, polls) {
		t.Errorf("the age is measured in %v, functions that poll the feed log to %v", measured, polls)
	}
	check(t, stack, "StalenessAlarm", "Latchkey/${AWS::StackName}", "Namespace")
	check(t, stack, "StalenessAlarm", "RevocationsAge", "MetricName")
	check(t, stack, "StalenessAlarm", "90", "Threshold")
}

const topic = "arn:aws:sns:eu-west-1:123456789012:alarms"

// watched is a metric as alarms and the dashboard name it: namespace, name and what its first dimension is.
func watched(t *testing.T, stack *deploytest.Stack, where string, namespace, name any, dimensions map[string]string) string {
	t.Helper()
	space := deploytest.Render(namespace)
	of := map[string][2]string{ // dimension and type of what it names
		"Latchkey": {"Function", "AWS::Lambda::Function"}, "AWS/Lambda": {"FunctionName", "AWS::Lambda::Function"},
		"AWS/DynamoDB": {"TableName", "AWS::DynamoDB::Table"}, "AWS/Logs": {"LogGroupName", "AWS::Logs::LogGroup"},
	}
	dimension, known := of[space]
	switch {
	case space == "Latchkey/${AWS::StackName}":
		filtered := []string{"HttpThrottled", "TokenStaleness"}
		if !slices.ContainsFunc(filtered, func(id string) bool {
			transformations, _ := stack.Resources[id].Properties["MetricTransformations"].([]any)
			return at(transformations[0], "MetricName") == name
		}) || len(dimensions) != 0 {
			t.Errorf("%s: no filter makes %v", where, name)
		}
	case space == "AWS/ApiGateway" && dimensions["ApiId"] != "":
		if dimensions["ApiId"] != "${HttpApi}" || !slices.Contains([]any{"5xx", "Latency", "Count"}, name) || len(dimensions) != 1 {
			t.Errorf("%s: %v of %v", where, name, dimensions)
		}
	case space == "AWS/ApiGateway":
		want := map[string]string{"ApiName": deploytest.Render(stack.Resources["RestApi"].Properties["Name"]), "Stage": deploytest.Render(stack.Resources["RestStage"].Properties["StageName"])}
		if !maps.Equal(dimensions, want) || !slices.Contains([]any{"5XXError", "Count"}, name) {
			t.Errorf("%s: %v of %v, want %v", where, name, dimensions, want)
		}
	case !known:
		t.Errorf("%s: the namespace is %q", where, space)
	default:
		id := strings.Trim(dimensions[dimension[0]], "${}")
		if stack.Resources[id].Type != dimension[1] || len(dimensions) != 1 {
			t.Errorf("%s: %s %v of %v", where, space, name, dimensions)
		}
		if space == "Latchkey" && !slices.Contains(ownMetrics(t)[fmt.Sprint(name)], strings.TrimSuffix(id, "Function")) {
			t.Errorf("%s: %s does not write %v", where, id, name)
		}
	}
	return fmt.Sprint(space, " ", name)
}

// ownMetrics are those that the functions write, and which functions do, as docs/observability.md has them.
func ownMetrics(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "observability.md"))
	if err != nil {
		t.Fatal(err)
	}
	own := make(map[string][]string)
	for _, row := range regexp.MustCompile("(?m)^\\| (`\\w+`(?:, `\\w+`)*) \\| \\w+ \\| Function[^|]*\\| ([^|]+) \\|").FindAllStringSubmatch(string(page), -1) {
		writers := slices.DeleteFunc(slices.Clone(functions), func(name string) bool {
			return row[2] == "all but whoami" && name == "Whoami" || row[2] != "all but whoami" && !slices.Contains(strings.Split(row[2], ", "), strings.ToLower(name))
		})
		for name := range strings.SplitSeq(row[1], ", ") {
			own[strings.Trim(name, "`")] = writers
		}
	}
	if len(own) < 10 {
		t.Fatalf("docs/observability.md has metrics %v", own)
	}
	return own
}

// alarms are what is told to the topic, and the metrics that each looks at.
func alarms(t *testing.T, stack *deploytest.Stack) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, id := range ofType(t, stack.Resources, "AWS::CloudWatch::Alarm") {
		p := stack.Resources[id].Properties
		name := strings.TrimSuffix(id, "Alarm")
		see := func(metric any) {
			dimensions := make(map[string]string)
			list, _ := at(metric, "Dimensions").([]any)
			for _, d := range list {
				dimensions[fmt.Sprint(at(d, "Name"))] = deploytest.Render(at(d, "Value"))
			}
			all[name] = append(all[name], watched(t, stack, id, at(metric, "Namespace"), at(metric, "MetricName"), dimensions))
		}
		if p["MetricName"] != nil {
			see(p)
		}
		list, _ := p["Metrics"].([]any)
		for _, m := range list {
			if metric := at(m, "MetricStat", "Metric"); metric != nil {
				see(metric)
			}
		}
	}
	return all
}

// There is an alarm for what an operator has to do something about, and the page says what.
func TestAlarms(t *testing.T) {
	stack := deploy(t, map[string]string{"AlarmTopicArn": topic, "AccessKeyMode": "kms"})
	page, err := os.ReadFile(filepath.Join(testenv.Root(t), "docs", "deploy.md"))
	if err != nil {
		t.Fatal(err)
	}
	got := alarms(t, stack)
	for name, metrics := range map[string]string{
		"HttpErrors": "AWS/ApiGateway 5xx", "RestErrors": "AWS/ApiGateway 5XXError", "AuthorizerFailed": "Latchkey Failed",
		"AuthorizerSlow": "AWS/Lambda Duration", "Latency": "AWS/ApiGateway Latency", "HttpThrottled": "Latchkey/${AWS::StackName} Throttled",
		"FunctionsThrottled": "AWS/Lambda Throttles", "TablesThrottled": "AWS/DynamoDB WriteThrottleEvents", "KmsThrottled": "Latchkey KMSThrottled",
		"RefreshReuse": "Latchkey RefreshReuse", "KeyAge": "Latchkey KeyAge", "RotateFailed": "AWS/Lambda Errors",
		"Staleness": "Latchkey/${AWS::StackName} RevocationsAge",
	} {
		if !slices.Contains(got[name], metrics) {
			t.Errorf("%s looks at %q, want %s", name, got[name], metrics)
		}
		delete(got, name)
		p := stack.Resources[name+"Alarm"].Properties
		if text := fmt.Sprint(p["AlarmDescription"]); !strings.HasSuffix(text, " See docs/deploy.md, "+name+".") || !strings.HasPrefix(text, "Latchkey: ") {
			t.Errorf("%s says %q", name, text)
		}
		if !strings.Contains(string(page), "| **"+name+"** |") {
			t.Errorf("docs/deploy.md does not say what to do about %s", name)
		}
		check(t, stack, name+"Alarm", `["`+topic+`"]`, "AlarmActions")
		if p["Threshold"] == nil || p["EvaluationPeriods"] == nil || p["ComparisonOperator"] == nil {
			t.Errorf("%s: %v", name, p)
		}
		// What is 0 is not written; but that nobody looks after the keys any more must show.
		missing := "notBreaching"
		if name == "KeyAge" {
			missing = "missing"
			check(t, stack, "KeyAgeAlarm", `["`+topic+`"]`, "InsufficientDataActions")
		}
		check(t, stack, name+"Alarm", missing, "TreatMissingData")
	}
	if len(got) > 0 {
		t.Errorf("alarms that this test does not know: %v", slices.Sorted(maps.Keys(got)))
	}

	if _, ok := deploy(t, map[string]string{"AlarmTopicArn": topic}).Resources["KmsThrottledAlarm"]; ok {
		t.Error("an alarm on KMS, where nothing is signed")
	}
	for id, r := range deploy(t, nil).Resources {
		if r.Type == "AWS::CloudWatch::Alarm" {
			t.Errorf("%s: an alarm without anybody to tell", id)
		}
	}
}

// What `latchkey cost` counts for the alarms is what they look at.
func TestAlarmsCost(t *testing.T) {
	for mode, want := range map[string]int{"secretsmanager": cost.AlarmMetrics, "kms": cost.AlarmMetrics + cost.KMSAlarmMetrics} {
		n := 0
		for _, metrics := range alarms(t, deploy(t, map[string]string{"AlarmTopicArn": topic, "AccessKeyMode": mode})) {
			n += len(metrics)
		}
		if n != want {
			t.Errorf("%s: alarms look at %d metrics, latchkey cost says %d", mode, n, want)
		}
	}
}

// The dashboard shows what is there, and what an operator asks for first.
func TestDashboard(t *testing.T) {
	stack := deploy(t, map[string]string{"Dashboard": "true"})
	text := strings.ReplaceAll(deploytest.Render(stack.Resources["OperatorsDashboard"].Properties["DashboardBody"]), "${!", "${")
	var body struct {
		Widgets []struct {
			Type                string
			X, Y, Width, Height int
			Properties          struct {
				Title, Region string
				Metrics       [][]any
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	taken := make(map[[2]int]string)
	shown := make(map[string]bool)
	for _, w := range body.Widgets {
		title := w.Properties.Title
		if w.Type != "metric" || title == "" || w.Properties.Region != "${AWS::Region}" || len(w.Properties.Metrics) == 0 || w.X+w.Width > 24 {
			t.Errorf("the widget %+v", w)
		}
		for x := w.X; x < w.X+w.Width; x++ {
			for y := w.Y; y < w.Y+w.Height; y++ {
				if other, ok := taken[[2]int{x, y}]; ok && other != title {
					t.Fatalf("%q lies on %q", title, other)
				}
				taken[[2]int{x, y}] = title
			}
		}
		var last []any
		for _, m := range w.Properties.Metrics {
			if options, ok := m[0].(map[string]any); ok {
				expression := fmt.Sprint(options["expression"])
				search := regexp.MustCompile(`^SEARCH\('\{Latchkey,Function,Reason\} MetricName="(\w+)" Function="(.*)"', 'Sum', 300\)$`).FindStringSubmatch(expression)
				switch {
				case search != nil:
					shown[watched(t, stack, title, "Latchkey", search[1], map[string]string{"Function": search[2]})+" by reason"] = true
				case expression != "age / 86400":
					t.Errorf("%s: %s", title, expression)
				}
				continue
			}
			if _, ok := m[len(m)-1].(map[string]any); ok {
				m = m[:len(m)-1]
			}
			if m[0] == "..." {
				m = last
			}
			last = m
			dimensions := make(map[string]string)
			for i := 2; i+1 < len(m); i += 2 {
				value, _ := m[i+1].(string)
				if group, ok := stack.Resources[strings.Trim(value, "${}")]; ok && group.Type == "AWS::Logs::LogGroup" && m[0] != "AWS/Logs" {
					t.Errorf("%s: %v", title, m)
				}
				dimensions[fmt.Sprint(m[i])] = value
			}
			shown[watched(t, stack, title, m[0], m[1], dimensions)] = true
		}
	}
	for _, want := range []string{
		"Latchkey Issued", "Latchkey Refreshed", "Latchkey Refused by reason", "Latchkey CacheHits", "Latchkey RevocationsAge", "Latchkey KeyAge",
		"Latchkey KMSLatency", "AWS/ApiGateway Latency", "AWS/ApiGateway 5xx", "AWS/ApiGateway Count", "AWS/Logs IncomingBytes",
		"AWS/DynamoDB ConsumedReadCapacityUnits", "AWS/Lambda Invocations",
	} {
		if !shown[want] {
			t.Errorf("%s is not shown", want)
		}
	}
	if _, ok := deploy(t, nil).Resources["OperatorsDashboard"]; ok {
		t.Error("a dashboard that nobody asked for")
	}
}
