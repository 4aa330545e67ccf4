// Command generator makes load: package generate as a process of its own, so that it has a processor of its own. Its first
// line of standard input is a server's announcement, each further one a job, answered by a line with the result.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"

	"github.com/latchkey-auth/latchkey/bench/endpoint/generate"
	"github.com/latchkey-auth/latchkey/bench/endpoint/internal/stand"
)

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var a generate.Announcement
	stand.Must(in.Decode(&a))
	g, err := generate.New(a)
	stand.Must(err)
	for {
		var j generate.Job
		if err := in.Decode(&j); err != nil {
			return // whoever started it is done
		}
		if err := out.Encode(g.Run(context.Background(), j)); err != nil {
			log.Fatal(err)
		}
	}
}
