//! The messages of the protocol as the specifications write them, to read what was written by hand.

/// `prometheus.WriteRequest` of remote write 1.0.
pub mod v1 {
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteRequest {
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Label {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Sample {
        #[prost(double, tag = "1")]
        pub value: f64,
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }
}

/// `io.prometheus.write.v2.Request` of remote write 2.0.
pub mod v2 {
    pub use super::v1::Sample;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Request {
        #[prost(string, repeated, tag = "4")]
        pub symbols: Vec<String>,
        #[prost(message, repeated, tag = "5")]
        pub timeseries: Vec<TimeSeries>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        #[prost(uint32, repeated, tag = "1")]
        pub labels_refs: Vec<u32>,
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
        #[prost(message, optional, tag = "5")]
        pub metadata: Option<Metadata>,
        #[prost(int64, tag = "6")]
        pub created_timestamp: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Metadata {
        #[prost(int32, tag = "1")]
        pub kind: i32,
        #[prost(uint32, tag = "3")]
        pub help_ref: u32,
        #[prost(uint32, tag = "4")]
        pub unit_ref: u32,
    }
}

/// A series as text, its samples as time and bits of the value.
pub type Told = (String, Vec<(i64, u64)>);

/// What a message of either version says, in its order.
pub fn read(bytes: &[u8], protocol: super::Protocol) -> Vec<Told> {
    use prost::Message;
    let samples = |samples: &[v1::Sample]| samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
    match protocol {
        super::Protocol::V1 => {
            let request = v1::WriteRequest::decode(bytes).unwrap();
            let pairs = |s: &v1::TimeSeries| {
                s.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect::<Vec<_>>()
            };
            request.timeseries.iter().map(|s| (series(&pairs(s)), samples(&s.samples))).collect()
        }
        super::Protocol::V2 => {
            let request = v2::Request::decode(bytes).unwrap();
            assert_eq!(
                request.symbols.first().map(String::as_str),
                Some(""),
                "symbols begin with the empty text"
            );
            let text = |at: u32| request.symbols[usize::try_from(at).unwrap()].clone();
            let pairs = |s: &v2::TimeSeries| {
                s.labels_refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect::<Vec<_>>()
            };
            request.timeseries.iter().map(|s| (series(&pairs(s)), samples(&s.samples))).collect()
        }
    }
}

/// `name{label="value",…}`; the labels must be sorted, and none twice.
fn series(pairs: &[(String, String)]) -> String {
    assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0), "labels are out of order: {pairs:?}");
    assert_eq!(pairs[0].0, "__name__");
    let labels: Vec<_> = pairs[1..].iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{}{{{}}}", pairs[0].1, labels.join(","))
}
