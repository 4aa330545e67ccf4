package report

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// WriteDocument puts the tables into a Markdown file, each in place of what stands between
//
//	<!-- bench:NAME -->
//	<!-- /bench -->
//
// and likewise each section's targets. What this run did not measure stays as it was; it is an error if the file has no
// place for what it did. about is the line under each table that says what it was measured on: see About.
func (r *Report) WriteDocument(file, about string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, t := range r.tables {
		if len(t.rows) > 0 {
			if text, err = replace(text, t.name, markdown(t.grid())+"\n"+about+"\n"); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	var done []string
	for _, t := range r.targets {
		if slices.Contains(done, t.section) {
			continue
		}
		done = append(done, t.section)
		if text, err = replace(text, "targets-"+t.section, markdown(r.targetGrid(t.section))); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return os.WriteFile(file, text, 0o644)
}

func replace(text []byte, name, table string) ([]byte, error) {
	begin, end := []byte("<!-- bench:"+name+" -->\n"), []byte("<!-- /bench -->")
	_, after, ok := bytes.Cut(text, begin)
	if !ok {
		return nil, fmt.Errorf("it has no marker %q", bytes.TrimSpace(begin))
	}
	before := text[:len(text)-len(after)]
	i := bytes.Index(after, end)
	if next := bytes.Index(after, []byte("<!-- bench:")); i < 0 || next >= 0 && next < i {
		return nil, fmt.Errorf("nothing ends the marker %q", bytes.TrimSpace(begin))
	}
	return slices.Concat(before, []byte(table), after[i:]), nil
}

// markdown writes a table whose columns but the first are numbers.
func markdown(grid [][]string) string {
	var b strings.Builder
	for i, line := range grid {
		b.WriteString("| " + strings.Join(line, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(line)-1) + "\n")
		}
	}
	return b.String()
}

// About says what a run was made on, when, and of how many rounds its medians are.
func About(rounds int, now time.Time) string {
	return fmt.Sprintf("Median of %d rounds, %s, %s, %s/%s, %d × %s.",
		rounds, now.UTC().Format(time.DateOnly), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor())
}

func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return cmp.Or(strings.TrimSpace(value), "processor")
		}
	}
	return "processor"
}
