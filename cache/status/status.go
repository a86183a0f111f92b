// Package status is what a cache tells of itself, for people and programs to read.
package status

import "time"

// Status is what a cache is doing, for people and programs to read.
type Status struct {
	Time     time.Time `json:"time"`
	Memory   Usage     `json:"memory"` // bodies in memory, of all accounts
	Disk     Usage     `json:"disk"`   // bodies on disk that count against the budget, of all accounts
	Accounts []Account `json:"accounts"`
}

// Usage of a budget of bytes.
type Usage struct {
	Messages int   `json:"messages"`
	Bytes    int64 `json:"bytes"`
	Budget   int64 `json:"budget"`
}

// Account is what an account is doing.
type Account struct {
	Name        string `json:"name"`
	Server      string `json:"server,omitempty"`
	Error       string `json:"error,omitempty"` // why the server was not reached the last time
	Failure     error  `json:"-"`               // the same, for callers that have words of their own for it
	Store       string `json:"store,omitempty"` // directory; empty where nothing is kept on disk
	Connections int    `json:"connections"`
	Dials       int64  `json:"dials"`
	BytesIn     int64  `json:"bytes_in"`
	BytesOut    int64  `json:"bytes_out"`
	Fetched     int64  `json:"messages_fetched"`
	FromMemory  int64  `json:"messages_from_memory"`
	FromDisk    int64  `json:"messages_from_disk"`
	Mailboxes   int    `json:"mailboxes"`
	Listed      int    `json:"mailboxes_listed"`
	Messages    int    `json:"messages_listed"`
	Syncing     []Sync `json:"syncing,omitempty"`
}

// Sync is how far a synchronisation is.
type Sync struct {
	Mailbox string    `json:"mailbox"`
	Since   time.Time `json:"since"`
	Done    int       `json:"messages_done"`  // messages that were listed so far
	Total   int       `json:"messages_total"` // messages in the mailbox; 0 while that is not known
}
