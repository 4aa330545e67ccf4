package main

import _ "container/list"
