package main

import _ "hash/adler32"
