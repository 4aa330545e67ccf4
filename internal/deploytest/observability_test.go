package deploytest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/latchkey-auth/latchkey/internal/deploytest"
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
	stack := deploy(t, map[string]string{"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms", "StalenessAlarmAge": "90"})
	var measured []string
	for _, id := range ofType(t, stack.Resources, "AWS::Logs::MetricFilter") {
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
	check(t, stack, "StalenessAlarm", `["arn:aws:sns:eu-west-1:123456789012:alarms"]`, "AlarmActions")
	if _, ok := deploy(t, nil).Resources["StalenessAlarm"]; ok {
		t.Error("an alarm without anybody to tell")
	}
}
