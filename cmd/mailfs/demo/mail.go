package demo

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"golang.org/x/text/encoding/charmap"
)

// mailboxNames are the mailboxes of the sample IMAP account, parents before children. One of them stays empty.
var mailboxNames = []string{
	"INBOX", "Archive", "Archive/2024", "Archive/2025", "Entwürfe", "Lists", "Lists/go-nuts", "Newsletters", "Notes",
	"Projects", "Projects/Bootshaus & Küche", "Sent", "日本語",
}

// message is a message of the sample mail.
type message struct {
	mailbox string
	date    time.Time
	flags   []goimap.Flag
	raw     []byte
}

// Sample mail is the same each time: the README shows parts of it.
var (
	firstDate = time.Date(2024, 11, 21, 8, 0, 0, 0, time.UTC)
	lastDate  = time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC)
	owner     = mail.Address{Name: "Alex Sample", Address: "alex@example.org"}
)

var people = []mail.Address{
	{Name: "Ana Souza", Address: "ana@example.com"},
	{Name: "Jürgen Groß", Address: "juergen.gross@example.net"},
	{Name: "Σοφία Παπαδοπούλου", Address: "sofia@example.com"},
	{Name: "Пётр Иванов", Address: "petr@example.net"},
	{Name: "田中 花子", Address: "hanako@example.com"},
	{Name: "Chloé Dubois", Address: "chloe.dubois@example.com"},
	{Name: "Priya Sharma", Address: "priya@example.org"},
	{Name: "O'Neill, Sam", Address: "sam.oneill@example.com"},
}

// writer writes sample mail.
type writer struct {
	rnd  *rand.Rand
	n    int // messages so far
	mail []message
}

// envelope is the header of a message, without the fields that say how its content is encoded.
type envelope struct {
	from, to   mail.Address
	subject    string
	date       time.Time
	references []string // Message-IDs of the thread so far; the message answers the last one
	extra      string   // more header fields, each with its line end
}

// part is a MIME entity: header fields with their line ends, and the encoded body.
type part struct {
	header string
	body   []byte
}

// add writes a message into a mailbox and returns its Message-ID.
func (p *writer) add(mailbox string, e envelope, content part, flags ...goimap.Flag) string {
	p.n++
	_, domain, _ := strings.Cut(e.from.Address, "@")
	id := fmt.Sprintf("<%s.%04d@%s>", e.date.Format("20060102150405"), p.n, domain)
	var b bytes.Buffer
	fmt.Fprintf(&b, "Received: from mx.%s (mx.%s [192.0.2.%d])\r\n\tby mail.example.org with ESMTPS; %s\r\n",
		domain, domain, 1+p.n%250, e.date.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "Date: %s\r\n", e.date.Format(time.RFC1123Z))
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\n", e.from.String(), e.to.String())
	fmt.Fprintf(&b, "Subject: %s\r\nMessage-ID: %s\r\n", headerText(e.subject), id)
	if n := len(e.references); n > 0 {
		fmt.Fprintf(&b, "In-Reply-To: %s\r\nReferences: %s\r\n", e.references[n-1], strings.Join(e.references, "\r\n "))
	}
	fmt.Fprintf(&b, "%sMIME-Version: 1.0\r\n%s\r\n", e.extra, content.header)
	b.Write(content.body)
	p.mail = append(p.mail, message{mailbox: mailbox, date: e.date, flags: flags, raw: b.Bytes()})
	return id
}

// headerText encodes text for a header field (RFC 2047), folded between the encoded words.
func headerText(s string) string {
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

// crlf turns the ends of lines into CRLF.
func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }

// plain is 7-bit text.
func plain(text string) part {
	return part{"Content-Type: text/plain; charset=us-ascii\r\n", crlf(text)}
}

// flowed is text whose lines may be joined again (RFC 3676).
func flowed(text string) part {
	return part{"Content-Type: text/plain; charset=us-ascii; format=flowed\r\n", crlf(text)}
}

// encoded is text in UTF-8, quoted-printable. kind is its subtype: "plain" or "html".
func encoded(kind, text string) part { return quoted(kind, "utf-8", text) }

// quoted is text that is in a charset already, quoted-printable.
func quoted(kind, charset, text string) part {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	header := "Content-Type: text/%s; charset=%s\r\nContent-Transfer-Encoding: quoted-printable\r\n"
	return part{fmt.Sprintf(header, kind, charset), b.Bytes()}
}

// attachment is a file, in base64.
func attachment(kind, name string, content []byte) part {
	var b bytes.Buffer
	for text := base64.StdEncoding.EncodeToString(content); text != ""; {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	disposition := mime.FormatMediaType("attachment", map[string]string{"filename": name}) // in RFC 2231 if the name is not ASCII
	header := "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: %s\r\n"
	return part{fmt.Sprintf(header, kind, disposition), b.Bytes()}
}

// several is a multipart. kind is its subtype: "mixed" or "alternative".
func several(kind string, parts ...part) part {
	boundary := fmt.Sprintf("=_%s_%d_%d", kind, len(parts), len(parts[0].body))
	var b bytes.Buffer
	b.WriteString("This is a message in several parts.\r\n")
	for _, p := range parts {
		fmt.Fprintf(&b, "--%s\r\n%s\r\n%s\r\n", boundary, p.header, p.body)
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return part{fmt.Sprintf("Content-Type: multipart/%s; boundary=\"%s\"\r\n", kind, boundary), b.Bytes()}
}

// newWriter returns a writer. The same seed gives the same mail.
func newWriter(seed uint64) *writer { return &writer{rnd: rand.New(rand.NewPCG(seed, 2))} }

// imapMail is the mail of the sample IMAP account, oldest first.
func imapMail() []message {
	p := newWriter(1)
	p.greetings()
	p.conversations()
	p.invoices()
	p.newsletters()
	p.list()
	p.project()
	p.reports()
	p.drafts()
	p.big()
	slices.SortStableFunc(p.mail, func(a, b message) int { return a.date.Compare(b.date) })
	return p.mail
}

// when returns a random moment in the n-th of so many equal parts of the time that the sample mail spans.
func (p *writer) when(n, of int) time.Time {
	step := lastDate.Sub(firstDate) / time.Duration(of)
	return firstDate.Add(time.Duration(n)*step + time.Duration(p.rnd.Int64N(int64(step)))).Truncate(time.Second)
}

// seenBefore returns the flags of a message: mail of more than a month before the last is read.
func seenBefore(date time.Time) []goimap.Flag {
	if date.Before(lastDate.AddDate(0, -1, 0)) {
		return []goimap.Flag{goimap.FlagSeen}
	}
	return nil
}

// greetings are short letters in many scripts and encodings.
func (p *writer) greetings() {
	letters := []struct{ subject, text string }{
		{"Saudade de Lisboa", "Caro Alex,\n\na maré está baixa e o café está aberto até às onze.\n\nAbraços\n"},
		{"Grüße aus Köln", "Lieber Alex,\n\nder Rhein führt Hochwasser, und die Brücke ist gesperrt.\n\nViele Grüße\n"},
		{"Καλημέρα από την Αθήνα", "Αγαπητέ Άλεξ,\n\nη θάλασσα είναι ακόμα ζεστή.\n\nΦιλικά\n"},
		{"Привет из Москвы", "Дорогой Алекс,\n\nпервый снег уже лежит.\n\nДо встречи\n"},
		{"京都からの写真", "アレックスさん\n\n紅葉がとてもきれいです。\n\n花子\n"},
		{"Dîner à l'été prochain ?", "Cher Alex,\n\non se retrouve où ? À Besançon, près du café ?\n\nÀ bientôt\n"},
		{"दिल्ली से नमस्ते", "प्रिय एलेक्स,\n\nदीवाली की शुभकामनाएँ।\n\nसप्रेम\n"},
		{"Happy birthday! 🎉🎂", "Dear Alex,\n\nmany happy returns 🎈\n\nSee you at eight\n"},
		{"北京的消息", "亲爱的 Alex：\n\n会议改到下星期三。\n\n此致敬礼\n"},
		{"서울에서 보내는 안부", "알렉스에게\n\n가을 하늘이 맑습니다.\n\n건강하세요\n"},
		{"تحية من القاهرة", "عزيزي أليكس،\n\nالنيل جميل في المساء.\n\nمع التحية\n"},
		{"שלום מתל אביב", "אלכס היקר,\n\nהים שקט הבוקר.\n\nבברכה\n"},
		{"สวัสดีจากกรุงเทพ", "ถึงอเล็กซ์\n\nฝนหยุดตกแล้ว\n\nด้วยความคิดถึง\n"},
		{"AW: Angebot 50 % günstiger / nur heute: \"Boote\" & mehr", "Guten Tag,\n\n1.299,00 € statt 2.598,00 €.\n"},
	}
	for i, l := range letters {
		from := people[i%len(people)]
		e := envelope{from: from, to: owner, subject: l.subject, date: p.when(i, len(letters))}
		content := encoded("plain", l.text)
		switch i {
		case 5: // as an old mail program writes it
			text, _ := charmap.ISO8859_15.NewEncoder().String(l.text)
			content = quoted("plain", "iso-8859-15", text)
		case 3:
			text, _ := charmap.KOI8R.NewEncoder().String(l.text)
			content = quoted("plain", "koi8-r", text)
		}
		mailbox := "INBOX"
		if i == 4 {
			mailbox = "日本語"
		}
		p.add(mailbox, e, content, seenBefore(e.date)...)
	}
}

// conversations are threads between the owner and friends. Their mail is in INBOX, the owner's is in Sent.
func (p *writer) conversations() {
	topics := []struct{ subject, first string }{
		{"Lunch on Thursday?", "The place at the harbour has a new cook. Twelve thirty?"},
		{"The roof of the boathouse", "Half of the slates are loose. Better before winter than after."},
		{"Train tickets to Vienna", "The night train is nearly sold out. Shall I book two beds?"},
		{"Which camera for the trip", "I am torn between the small one and the one with the good lens."},
		{"Notes from the meeting", "We agreed on the budget, not on the date. Corrections are welcome."},
		{"Choir practice moved", "The hall is being painted, so we meet in the school until further notice."},
		{"Recipe for the lentil soup", "As promised. The trick is to roast the cumin first."},
		{"Spare key", "Your neighbour has it again. I put a label on it this time."},
	}
	answers := []string{
		"Fine with me.", "I had not thought of that. Let me ask around and come back to you tomorrow.",
		"Could we do it a week later? The children have a day off then.", "Done, see below.",
		"Thanks! I owe you one.",
	}
	for i, topic := range topics {
		friend := people[(i*3+1)%len(people)]
		date, text, previous := p.when(i, len(topics)), topic.first, ""
		var thread []string
		for turn := range 6 {
			e := envelope{from: friend, to: owner, subject: topic.subject, date: date, references: thread}
			mailbox := "INBOX"
			if turn%2 == 1 {
				e.from, e.to, mailbox = owner, friend, "Sent"
			}
			if turn > 0 {
				e.subject, text = "Re: "+topic.subject, answers[(i+turn)%len(answers)]
			}
			body := "Hello,\n\n" + text + " \nMore when we meet.\n"
			if previous != "" {
				body += "\n> " + strings.ReplaceAll(strings.TrimSpace(previous), "\n", "\n> ") + "\n"
			}
			body += "\n-- \n" + strings.Split(e.from.Address, "@")[0] + "\n"
			thread = append(thread, p.add(mailbox, e, flowed(body), goimap.FlagSeen))
			previous, date = text, date.Add(time.Duration(20+p.rnd.IntN(3000))*time.Minute)
		}
	}
}

// invoices come every month with a PDF; those of past years are in the archive.
func (p *writer) invoices() {
	shop := mail.Address{Name: "Harbour Power & Water", Address: "billing@power.example"}
	for i := range 24 {
		date := time.Date(2024, time.December+time.Month(i), 3, 6, 30, i, 0, time.UTC)
		mailbox := "INBOX"
		if date.Year() < 2026 {
			mailbox = fmt.Sprintf("Archive/%d", date.Year())
		}
		number, amount := 10400+17*i, 40+p.rnd.IntN(60)
		text := fmt.Sprintf("Dear customer,\n\nyour invoice no. %d over EUR %d.00 is attached.\n", number, amount)
		subject := fmt.Sprintf("Invoice %d for %s", number, date.Format("January 2006"))
		page := attachment("application/pdf", fmt.Sprintf("invoice-%d.pdf", number),
			pdf(fmt.Sprintf("Invoice %d: EUR %d.00", number, amount)))
		e := envelope{from: shop, to: owner, subject: subject, date: date}
		p.add(mailbox, e, several("mixed", plain(text), page), goimap.FlagSeen)
	}
}

// newsletters are HTML, with a plain text that says nothing, as is usual.
func (p *writer) newsletters() {
	offers := []string{
		"ten hulls under ten metres", "the knots nobody ties right", "paint that lasts", "sails from old tents",
		"why bilges smell",
	}
	const advice = "<p>Read on for what our readers found out the hard way, with pictures and a price list.</p>\n"
	for i := range 48 {
		date := p.when(i, 48)
		title := offers[i%len(offers)]
		html := fmt.Sprintf("<!DOCTYPE html>\n<html><head><title>Issue %d</title><style>h1 { color: #036 }</style></head>\n"+
			"<body><h1>Boat &amp; Bilge &ndash; issue %d</h1>\n<p>This week: <b>%s</b>.</p>\n%s"+
			"<p><a href=\"https://news.example/unsubscribe?u=%d\">Unsubscribe</a></p></body></html>\n",
			i+1, i+1, title, strings.Repeat(advice, 10+p.rnd.IntN(60)), i)
		e := envelope{
			from: mail.Address{Name: "Boat & Bilge Weekly", Address: "news@news.example"}, to: owner,
			subject: fmt.Sprintf("⛵ Issue %d: %s", i+1, title), date: date,
			extra: "List-Unsubscribe: <https://news.example/unsubscribe>\r\nPrecedence: bulk\r\n",
		}
		poor := plain("Your mail program shows no HTML. Read this issue at https://news.example/\n")
		p.add("Newsletters", e, several("alternative", poor, encoded("html", html)), seenBefore(date)...)
	}
}

// list is a mailing list with threads by many people.
func (p *writer) list() {
	questions := []string{
		"How do I cancel a blocking Read?", "Is a nil map safe to range over?", "Directories with a million entries",
		"Best way to test code that needs root", "Generics and method sets", "Escape analysis surprises me",
		"cgo and static linking", "Profiling a FUSE server", "Rounding in time.Truncate", "Vendoring or proxy?",
	}
	code := "\tfor range 3 {\n\t\tif err := try(); err == nil {\n\t\t\treturn nil\n\t\t}\n\t}\n"
	for i, question := range questions {
		date := p.when(i, len(questions))
		var thread []string
		for turn := range 6 {
			from := people[(i+turn*5)%len(people)]
			subject := "[go-nuts] " + question
			text := "Hi all,\n\n" + question + "\nI have tried this, and it does not do what I want:\n\n" + code
			if turn > 0 {
				subject = "Re: " + subject
				text = fmt.Sprintf("On %s somebody wrote:\n> %s\n\nThat is answer %d of many. See package context.\n",
					date.Format(time.DateOnly), question, turn)
			}
			e := envelope{
				from: from, to: mail.Address{Name: "golang-nuts", Address: "golang-nuts@lists.example"},
				subject: subject, date: date, references: thread,
				extra: "List-Id: <golang-nuts.lists.example>\r\nPrecedence: list\r\n",
			}
			thread = append(thread, p.add("Lists/go-nuts", e, plain(text), seenBefore(date)...))
			date = date.Add(time.Duration(10+p.rnd.IntN(600)) * time.Minute)
		}
	}
}

// project is a folder with pictures.
func (p *writer) project() {
	for i := range 10 {
		date := p.when(i, 10)
		subject := fmt.Sprintf("Fotos vom Bootshaus, Teil %d", i+1)
		e := envelope{from: people[1], to: owner, subject: subject, date: date}
		text := encoded("plain", "Hallo Alex,\n\nhier die Küche von der Wasserseite. Schön, nicht?\n\nJürgen\n")
		photo := attachment("image/png", fmt.Sprintf("Küche %d.png", i+1), p.picture(160, 100, false))
		p.add("Projects/Bootshaus & Küche", e, several("mixed", text, photo), seenBefore(date)...)
	}
}

// reports are sent by the owner every other month, with a table.
func (p *writer) reports() {
	for i := range 12 {
		date := p.when(i, 12)
		table := "month;visitors;income\r\n"
		for m := range 12 {
			month := time.Date(date.Year(), date.Month()-time.Month(m), 1, 0, 0, 0, 0, time.UTC)
			visitors, income := 100+p.rnd.IntN(400), 900+p.rnd.IntN(4000)
			table += fmt.Sprintf("%s;%d;%d,00\r\n", month.Format("2006-01"), visitors, income)
		}
		subject := fmt.Sprintf("Figures up to %s", date.Format("January 2006"))
		e := envelope{from: owner, to: people[6], subject: subject, date: date}
		file := attachment("text/csv; charset=us-ascii", "figures-"+date.Format("2006-01")+".csv", []byte(table))
		p.add("Sent", e, several("mixed", plain("Dear Priya,\n\nthe figures as a table.\n\nAlex\n"), file), goimap.FlagSeen)
	}
}

// drafts are unfinished messages; one has no subject.
func (p *writer) drafts() {
	for i, subject := range []string{"Kündigung", "Re: Lunch on Thursday?", "", "Rede zum 60. Geburtstag"} {
		e := envelope{from: owner, to: people[i], subject: subject, date: p.when(20+i, 24)}
		p.add("Entwürfe", e, encoded("plain", "Noch nicht fertig …\n"), goimap.FlagDraft, goimap.FlagSeen)
	}
}

// big is one message of two megabytes.
func (p *writer) big() {
	e := envelope{
		from: people[5], to: owner, subject: "Photo of the harbour in full size", date: lastDate.Add(-26 * time.Hour),
	}
	photo := attachment("image/png", "harbour.png", p.picture(720, 700, true))
	p.add("INBOX", e, several("mixed", plain("Dear Alex,\n\nas you asked.\n\nChloe\n"), photo))
}

// pop3Mail is the maildrop of the sample POP3 account, oldest first.
func pop3Mail() [][]byte {
	p := newWriter(3)
	machine := mail.Address{Name: "Backup", Address: "backup@nas.example"}
	for i := range 20 {
		date := p.when(i, 20)
		state := "finished"
		if i%7 == 6 {
			state = "FAILED"
		}
		text := fmt.Sprintf("Backup of /home %s at %s.\n\n%8d files\n%8d MB\n.\n..dots at the beginning of lines stay\n",
			state, date.Format(time.DateTime), 40000+p.rnd.IntN(9000), 900+p.rnd.IntN(300))
		subject := fmt.Sprintf("Backup %s (%s)", state, date.Format("Mon 2 Jan"))
		e := envelope{from: machine, to: owner, subject: subject, date: date}
		p.add("INBOX", e, plain(text))
	}
	letters := []string{
		"Klassentreffen 2026 – wer kommt?", "Ваш заказ отправлен", "Invoice 77 (paper boats)", "写真を送ります",
	}
	for i, subject := range letters {
		e := envelope{from: people[(i*2+1)%len(people)], to: owner, subject: subject, date: p.when(i, 4)}
		p.add("INBOX", e, several("mixed", encoded("plain", subject+"\n\nSiehe Anhang / see attachment.\n"),
			attachment("application/pdf", "Anhang.pdf", pdf(fmt.Sprintf("Attachment %d", i+1)))))
	}
	slices.SortStableFunc(p.mail, func(a, b message) int { return a.date.Compare(b.date) })
	var raw [][]byte
	for _, m := range p.mail {
		raw = append(raw, m.raw)
	}
	return raw
}

// picture is a PNG. It shows a sunset, or with noise set random dots, which can't be compressed.
func (p *writer) picture(width, height int, noise bool) []byte {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{uint8(255 - 120*y/height), uint8(160 - 140*y/height), uint8(60 + 100*x/width), 255}
			if noise {
				r := p.rnd.Uint32()
				c = color.RGBA{uint8(r), uint8(r >> 8), uint8(r >> 16), 255}
			}
			img.SetRGBA(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // never: writing to a buffer does not fail
	}
	return b.Bytes()
}

// pdf is the smallest document that shows one line of ASCII text.
func pdf(text string) []byte {
	stream := fmt.Sprintf("BT /F1 18 Tf 72 720 Td (%s) Tj ET", text)
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
		"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
		fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(stream), stream),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	index := "0000000000 65535 f \n"
	for i, o := range objects {
		index += fmt.Sprintf("%010d 00000 n \n", b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n%strailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n",
		len(objects)+1, index, len(objects)+1, start)
	return b.Bytes()
}
