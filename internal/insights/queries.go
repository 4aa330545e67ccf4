package insights

import "regexp"

var block = regexp.MustCompile("(?s)<!-- query: ([a-z-]+) -->\n```text\n(.*?)```")

// Queries returns the queries of a page in Markdown, each in a block of text that a comment names before it:
//
//	<!-- query: name -->
func Queries(page string) map[string]string {
	queries := map[string]string{}
	for _, m := range block.FindAllStringSubmatch(page, -1) {
		queries[m[1]] = m[2]
	}
	return queries
}
