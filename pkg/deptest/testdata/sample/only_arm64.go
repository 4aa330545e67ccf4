package main

import _ "hash/fnv"
