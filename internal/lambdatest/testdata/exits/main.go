// Command exits is a Lambda function that ends before it asks for an invocation.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "ISSUER is not set")
	os.Exit(2)
}
