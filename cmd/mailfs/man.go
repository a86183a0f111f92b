package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newManCommand prints the manual page. Packages keep it beside the program.
func newManCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "Print the manual page, in the language of man",
		Args:   arguments(0, 0),
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b strings.Builder
			writeManual(&b, cmd.Root())
			_, err := io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
}

// manualEnd is what the commands do not say about themselves.
const manualEnd = `.SH ENVIRONMENT
.TP
.B MAILFS_PASSWORD
The password. It comes before all other sources, and is handed on to no other program.
.TP
.B XDG_CONFIG_HOME, XDG_CACHE_HOME
Where the configuration and the cache are, below a directory mailfs.
.TP
.B NO_COLOR
When it is set, check prints without colours.
.SH FILES
.TP
.I ~/.config/mailfs/config.toml
The configuration.
.TP
.I ~/.cache/mailfs
Mail that was read, and listings.
.SH MOUNTING AT BOOT
A line of
.BR fstab (5)
names a URL or a configuration file. Root has no keyring and nobody to ask, so it needs a password_command. What root mounts
is root's, unless allow_other and uid give it to somebody; what is marked user is mounted by whom it is for:
.PP
.nf
    /etc/mailfs.toml  /srv/mail  mailfs  ro,_netdev,allow_other,uid=me  0  0
    imaps://me%40example.org@mail.example.org  /home/me/Mail  mailfs  noauto,user,password_command=pass\e040mail  0  0
.fi
.PP
For the mail of the one who signs in, the package has a unit of systemd:
.PP
.nf
    systemctl \-\-user enable \-\-now mailfs
.fi
.PP
It mounts all accounts of the configuration at ~/Mail.
.SH EXIT STATUS
0 when all went well, 1 after a failure, 2 for a command line that can't be understood, 130 when interrupted.
.SH SEE ALSO
.BR fusermount3 (1),
.BR mount (8),
.BR fstab (5)
`

// writeManual writes the manual page mailfs(1), from what the commands say about themselves.
func writeManual(b *strings.Builder, root *cobra.Command) {
	fmt.Fprintf(b, ".TH MAILFS 1 \"\" %q \"User Commands\"\n", strings.TrimPrefix(strings.SplitN(versionLine(), " (", 2)[0], " "))
	fmt.Fprintf(b, ".SH NAME\nmailfs \\- %s\n.SH SYNOPSIS\n", roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	for _, c := range shown(root) {
		fmt.Fprintf(b, ".B %s\n.br\n", roff(c.UseLine()))
	}
	fmt.Fprintf(b, ".SH DESCRIPTION\n%s\n", roffText(root.Long))
	b.WriteString(".SH COMMANDS\n")
	for _, c := range shown(root) {
		fmt.Fprintf(b, ".SS %s\n", roff(c.UseLine()))
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		b.WriteString(roffText(text) + "\n")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) { writeFlag(b, f) })
		if c.Example != "" {
			fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(c.Example))
		}
	}
	b.WriteString(manualEnd)
}

// shown lists the commands below one that people may want to read about, those that only group others left out.
func shown(c *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range c.Commands() {
		switch {
		case sub.Hidden || sub.Name() == "help" || sub.Name() == "completion":
		case sub.HasAvailableSubCommands():
			list = append(list, shown(sub)...)
		default:
			list = append(list, sub)
		}
	}
	return list
}

func writeFlag(b *strings.Builder, f *pflag.Flag) {
	if f.Hidden || f.Name == "help" {
		return
	}
	value, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	if value != "" {
		name += " " + value
	}
	if d := f.DefValue; d != "" && d != "false" && d != "[]" && !strings.Contains(usage, "default") {
		usage += " (default " + d + ")"
	}
	fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
}

// roff keeps text from being taken for requests and escapes.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// roffText makes paragraphs, and leaves what is indented as it is.
func roffText(text string) string {
	var b strings.Builder
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			b.WriteString("\n.PP\n")
		}
		if strings.HasPrefix(paragraph, "    ") {
			fmt.Fprintf(&b, ".nf\n%s\n.fi", roff(paragraph))
		} else {
			b.WriteString(roff(paragraph))
		}
	}
	return b.String()
}
