package readmetest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-auth/latchkey/internal/testenv"
)

// block is one fenced block of commands of the README.
type block struct {
	section string // the heading it is under
	line    int    // of its fence
	lines   []string
}

// readme returns the README.
func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse returns the blocks of commands, in order. All fenced blocks are of commands (sh) or of text, so that none is
// missed for being called bash, or nothing.
func parse(text string) ([]block, error) {
	var (
		blocks  []block
		section string
		fence   string // the language of the block that we are in
	)
	for i, line := range strings.Split(text, "\n") {
		language, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && fence != "":
			if language != "" {
				return nil, fmt.Errorf("line %d: a fence within a block", i+1)
			}
			fence = ""
		case isFence:
			switch language {
			case "sh":
				blocks = append(blocks, block{section: section, line: i + 1})
			case "text":
			default:
				return nil, fmt.Errorf("line %d: a block is sh, which is executed, or text, and not %q", i+1, language)
			}
			fence = language
		case fence == "sh":
			if line != "" {
				last := &blocks[len(blocks)-1]
				last.lines = append(last.lines, line)
			}
		case fence == "" && strings.HasPrefix(line, "#"):
			section = strings.TrimLeft(line, "# ")
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("a block of %s does not end", fence)
	}
	return blocks, nil
}

// plan says how a block is executed: by which of TestREADME's parts, and what each of its lines prints.
type plan struct {
	section string
	lines   []line
}

// line is a line of the README by its beginning, and what becomes of what it prints.
type line struct {
	begins string
	check  func(t *testing.T, out string)
}

// match sees that there is a plan for each line of each block, and a block for each plan.
func match(blocks []block, plans []plan) error {
	for i, b := range blocks {
		if i >= len(plans) || plans[i].section != b.section {
			return fmt.Errorf("README.md:%d: a block that is not known: say in plans how this block is to be executed:\n%s",
				b.line, strings.Join(b.lines, "\n"))
		}
		p := plans[i]
		for j, text := range b.lines {
			if j >= len(p.lines) || !strings.HasPrefix(text, p.lines[j].begins) {
				return fmt.Errorf("README.md:%d: a line that is not known: say in plans how it is to be executed and what it prints:\n%s",
					b.line+1+j, text)
			}
		}
		if len(b.lines) < len(p.lines) {
			return fmt.Errorf("README.md:%d: this block has no %q any more", b.line, p.lines[len(b.lines)].begins)
		}
	}
	if len(blocks) < len(plans) {
		return fmt.Errorf("README.md has no block any more under %q for %q", plans[len(blocks)].section, plans[len(blocks)].lines[0].begins)
	}
	return nil
}

func TestParse(t *testing.T) {
	const text = "# One\n```text\n# no heading\n```\n```sh\nls\n\n# a comment\n```\n## Two\n\n```sh\npwd\n```\n"
	got, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := []block{{"One", 5, []string{"ls", "# a comment"}}, {"Two", 12, []string{"pwd"}}}
	if !slices.EqualFunc(got, want, func(a, b block) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("%v, want %v", got, want)
	}
	for text, want := range map[string]string{
		"```bash\nls\n```": `line 1: a block is sh, which is executed, or text, and not "bash"`,
		"\n```\nls\n```":   `line 2: a block is sh, which is executed, or text, and not ""`,
		"```sh\nls\n":      "a block of sh does not end",
		"```sh\n```sh\n":   "line 2: a fence within a block",
	} {
		if _, err := parse(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestMatch(t *testing.T) {
	plans := []plan{{"One", []line{{begins: "ls"}, {begins: "pwd"}}}, {"Two", []line{{begins: "date"}}}}
	one, two := block{"One", 1, []string{"ls -l", "pwd"}}, block{"Two", 9, []string{"date"}}
	for _, test := range []struct {
		blocks []block
		want   string // of the error
	}{
		{[]block{one, two}, ""},
		{[]block{one, two, {"Two", 20, []string{"id"}}}, "README.md:20: a block that is not known"},
		{[]block{one, {"New", 5, []string{"id"}}, two}, "README.md:5: a block that is not known"},
		{[]block{{"One", 1, []string{"ls", "pwd", "id"}}, two}, "README.md:4: a line that is not known"},
		{[]block{{"One", 1, []string{"ls", "id"}}, two}, "README.md:3: a line that is not known"},
		{[]block{{"One", 1, []string{"ls"}}, two}, `README.md:1: this block has no "pwd" any more`},
		{[]block{one}, `README.md has no block any more under "Two" for "date"`},
	} {
		err := match(test.blocks, plans)
		if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%v: %v, want %q", test.blocks, err, test.want)
		}
	}
}
