//go:build !lambda.norpc

package main

import _ "container/heap"
