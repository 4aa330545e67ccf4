// Package lambdatest runs Lambda functions in tests as Lambda runs them: the function's own binary, built as it is
// for deployment, in a process of its own with Lambda's environment and nothing else, asking the Runtime API for its
// invocations, and frozen whenever it has none.
//
//	bin := lambdatest.Build(t, "github.com/latchkey-auth/latchkey/functions/token")
//	f := lambdatest.Start(t, lambdatest.Config{Binary: bin, Env: map[string]string{"ISSUER": issuer}})
//	answer, err := f.Invoke(ctx, event)
//
// A Function has the method of aws-lambda-go's lambda.Handler, so that it can stand wherever a handler in the same
// process can. The error of a function that failed is a *FunctionError, of one that never came up an *InitError.
//
// What differs from Lambda: a process that has ended (it crashed, it panicked, it timed out, it was killed) is not
// replaced by the next invocation, which fails instead: start another Function. There is one process a Function, so
// that concurrent invocations queue.
package lambdatest
