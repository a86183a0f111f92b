package test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/mailfs/mailfs/test/harness"
)

// statfs, and so df, shows the quota of the account.
func TestStatfsShowsTheQuota(t *testing.T) {
	t.Parallel()
	server := run.Dovecot(t, harness.DovecotOptions{Quota: 10 << 20})
	c := server.Dial(t, "quota")
	letters := harness.Letters(98, 10)
	c.Put("INBOX", letters...)
	var used uint64
	for _, mail := range letters {
		used += uint64(len(mail.Body))
	}
	m := run.Mount(t, "--ca-file", server.CA, fmt.Sprintf("imaps://quota@localhost:%d", server.IMAPS))
	harness.Eventually(t, "statfs knows the quota", func() bool {
		var st syscall.Statfs_t
		if err := syscall.Statfs(m.Path, &st); err != nil {
			t.Fatal(err)
		}
		size, free := st.Blocks*uint64(st.Bsize), st.Bfree*uint64(st.Bsize)
		// The protocol counts in KiB.
		return size == 10<<20 && size-free >= used-1024 && size-free <= used+64<<10
	})
}
