// Package wire lies between the network and go-imap. Conn reads what the server says with one tolerant scanner, and hands on
// to go-imap what go-imap can read: one form of each response, however the server has sent it. What can't be understood is
// left out, logged, and counted, so that whoever has asked can ask again (Conn.Misunderstood).
//
// Conn also bounds what a server may send, sets deadlines that follow progress, compresses (RFC 4978), and knows why a
// connection ended.
package wire
