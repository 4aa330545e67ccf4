// Command broken is a Lambda function that reports that it can't start, and then waits for what comes of it.
package main

import (
	"log"
	"net/http"
	"os"
	"strings"
)

func main() {
	res, err := http.Post("http://"+os.Getenv("AWS_LAMBDA_RUNTIME_API")+"/2018-06-01/runtime/init/error",
		"application/json", strings.NewReader(`{"errorType":"Config","errorMessage":"no issuer"}`))
	if err != nil {
		log.Fatal(err)
	}
	log.Print(res.Status)
	select {}
}
