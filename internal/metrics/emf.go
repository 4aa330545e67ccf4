package metrics

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey-auth/latchkey/internal/appendjson"
)

// appendAll appends a line of all that was counted, and one for each reason of refusals; both are empty again then.
func (s *Set) appendAll(out []byte, at time.Time) []byte {
	if s.cache != nil {
		hits, misses := s.cache()
		s.counts[cacheHits], s.counts[cacheMisses] = hits-s.read[0], misses-s.read[1]
		s.read = [2]uint64{hits, misses}
	}
	if s.age != nil {
		s.values[revocationsAge] = append(s.values[revocationsAge], seconds(s.age()))
	}
	var present []name
	for n := range names {
		if s.counts[n] > 0 || len(s.values[n]) > 0 {
			present = append(present, n)
		}
	}
	if len(present) > 0 {
		out = s.appendCounts(out, at, present)
	}
	// A line has one Reason. Both dimension sets in each line: CloudWatch adds up those of Function alone.
	for _, reason := range slices.Sorted(maps.Keys(s.refused)) {
		out = s.appendHead(out, at, `["Function"],["Function","Reason"]`)
		out = append(appendMetric(out, refusedName, "Count"), `]}]},"Function":`...)
		out = append(appendjson.String(out, s.function), `,"Reason":`...)
		out = append(appendjson.String(out, reason), `,"Refused":`...)
		out = append(strconv.AppendUint(out, s.refused[reason], 10), '}', '\n')
	}
	clear(s.refused)
	return out
}

func (s *Set) appendCounts(out []byte, at time.Time, present []name) []byte {
	out = s.appendHead(out, at, `["Function"]`)
	for i, n := range present {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendMetric(out, described[n].name, described[n].unit)
	}
	out = append(out, `]}]},"Function":`...)
	out = appendjson.String(out, s.function)
	for _, n := range present {
		out = append(out, ',', '"')
		out = append(out, described[n].name...)
		out = append(out, '"', ':')
		if s.counts[n] > 0 {
			out = strconv.AppendUint(out, s.counts[n], 10)
		} else {
			out = appendValues(out, s.values[n])
		}
		s.counts[n], s.values[n] = 0, s.values[n][:0]
	}
	return append(out, '}', '\n')
}

// appendHead appends a line up to the list of its metrics.
func (s *Set) appendHead(out []byte, at time.Time, dimensions string) []byte {
	out = append(out, `{"time":"`...)
	out = at.AppendFormat(out, time.RFC3339Nano)
	out = append(out, `","level":"INFO","event":"`+Event+`","_aws":{"Timestamp":`...)
	out = strconv.AppendInt(out, at.UnixMilli(), 10)
	out = append(out, `,"CloudWatchMetrics":[{"Namespace":"`+Namespace+`","Dimensions":[`...)
	out = append(out, dimensions...)
	return append(out, `],"Metrics":[`...)
}

func appendMetric(out []byte, name, unit string) []byte {
	out = append(out, `{"Name":"`...)
	out = append(out, name...)
	out = append(out, `","Unit":"`...)
	out = append(out, unit...)
	return append(out, `"}`...)
}

// appendValues appends a number, or a list of several.
func appendValues(out []byte, values []float64) []byte {
	if len(values) > 1 {
		out = append(out, '[')
	}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendFloat(out, v, 'f', -1, 64)
	}
	if len(values) > 1 {
		out = append(out, ']')
	}
	return out
}
