// Package wire lies between the network and go-imap. It finds the responses in what a server sends, mends or drops what
// go-imap can't read, bounds sizes and waits, compresses, and measures the line. It knows no mailbox and no account.
package wire
