# Sends one message with Net::SMTP, as the JSON on standard input says. Exit status 1 and the last reply where it fails.
use strict;
use warnings;
use Authen::SASL;
use IO::Socket::SSL;
use JSON::PP;
use Net::SMTP;

my $order = JSON::PP->new->utf8->decode(do { local $/; <STDIN> });
my $way = $order->{way};
my $mechanism = $order->{mechanism};
my @tls = (SSL_ca_file => $order->{authority}, SSL_verify_mode => SSL_VERIFY_PEER, SSL_verifycn_name => $order->{host});
push @tls, SSL_cert_file => $order->{certificate}, SSL_key_file => $order->{key} if $mechanism eq 'EXTERNAL';

my $smtp = Net::SMTP->new(
    $order->{host},
    Port => $order->{port},
    Hello => $order->{helo},
    Timeout => $order->{timeout},
    Debug => 1,
    SSL => $way eq 'implicit' ? 1 : 0,
    $way eq 'implicit' ? @tls : (),
) or die "no connection: $@ " . IO::Socket::SSL::errstr();

sub must {
    my ($done, $step) = @_;
    return if $done;
    print STDERR "$step: ", $smtp->code, ' ', $smtp->message, ' ', IO::Socket::SSL::errstr() // '', "\n";
    $smtp->quit;
    exit 1;
}

must($smtp->starttls(@tls), 'STARTTLS') if $way eq 'starttls';
if ($order->{any}) {
    must($smtp->auth($order->{user}, $order->{password}), 'AUTH');
} elsif ($mechanism) {
    my %answers = (user => $order->{user}, authname => $order->{user}, pass => $order->{password});
    $answers{authname} = '' if $mechanism eq 'PLAIN';
    must($smtp->auth(Authen::SASL->new(mechanism => $mechanism, callback => \%answers)), 'AUTH');
}
my $dsn = $order->{dsn};
must($smtp->mail($order->{sender}, Bits => 8, $dsn ? (Return => $dsn->{returned}, ENVID => $dsn->{envelope_id}) : ()),
    'MAIL');
must($smtp->recipient($order->{recipient}, $dsn ? { Notify => [split /,/, $dsn->{notify}] } : ()), 'RCPT');
open my $message, '<:raw', $order->{message} or die "$order->{message}: $!";
my $content = do { local $/; <$message> };
must($smtp->data($content), 'DATA');
$smtp->quit;
