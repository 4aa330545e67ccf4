// Command sample is what deptest's own tests look at.
package main

import (
	"fmt"

	"github.com/latchkey-auth/latchkey/pkg/deptest/testdata/sample/inner"
)

func main() { fmt.Println(inner.Encode("x")) }
