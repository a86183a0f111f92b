package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAddingAnAccountKeepsOwnerModeAndLink(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root writes files of others")
	}
	dir := t.TempDir()
	path, link := filepath.Join(dir, "dotfiles.toml"), filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte("# mine\n"), 0o604); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.Chmod(path, 0o604), os.Chown(path, 65534, 65533), os.Symlink("dotfiles.toml", link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	o := &Options{Config: link}
	if _, err := o.AddAccount("a", "[account.a]\nurl = \"imaps://u@h\"\n"); err != nil {
		t.Fatal(err)
	}
	if target, err := os.Readlink(link); err != nil || target != "dotfiles.toml" {
		t.Errorf("the link leads to %q (%v)", target, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := sysStat(info); s.Uid != 65534 || s.Gid != 65533 || info.Mode().Perm() != 0o604 {
		t.Errorf("it is of %d:%d now, %v", s.Uid, s.Gid, info.Mode())
	}
}
