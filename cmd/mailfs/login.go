package main

import "syscall"

// signInAgain has a serving process try again at once to sign in where it was refused.
const signInAgain = syscall.SIGUSR1
