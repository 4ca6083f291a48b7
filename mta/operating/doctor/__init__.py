"""Doctor: is this relay ready for the world? What can be found out from here, and what to do about it.

Each module judges one group of things: functions from what the DNS, the disk or a peer said to findings, which know
neither network nor clock. `examination` looks, through `outside`, side by side and within a time limit.

    finding       what a check comes to: a level, what was seen, what to do, the record to publish
    names         the addresses of this relay: PTR, and the way back; the name in HELO
    exchange      MX
    spf           SPF, read by `spf_record`, for each address of this relay
    tags          the tag lists of DKIM, DMARC, MTA-STS and TLSRPT
    keys, dmarc   DKIM keys of the selectors that one asks for; DMARC
    transport     MTA-STS, TLSRPT, TLSA
    certificate   the certificate that listeners show
    relaying      postmaster and abuse; who may send anywhere
    machine       clock, disk, descriptors
    servers       name servers, and whether they validate; port 25 of others
"""
