//! Function words of the languages that are told apart.

use whatlang::Lang;

/// A language in Latin script.
pub(super) struct Known {
    /// Which one.
    pub(super) lang: Lang,
    /// Words that hold its sentences together, without those that are common in English, in commands or in names.
    pub(super) words: &'static [&'static str],
    /// Letters that English does not have.
    pub(super) letters: &'static str,
}

/// Languages in Latin script that are told apart: with rare ones among them, common ones are guessed less surely.
pub(super) const LATIN: [Known; 18] = [
    Known { lang: Lang::Eng, words: &[], letters: "" },
    Known {
        lang: Lang::Deu,
        words: &[
            "aber", "auf", "aus", "bei", "bitte", "dann", "das", "dass", "dem", "der", "doch", "ein", "eine", "einem",
            "einen", "einer", "für", "ich", "ihr", "ist", "kann", "können", "mein", "meine", "meinen", "mich", "mir",
            "mit", "nach", "nicht", "oder", "sich", "sie", "sind", "soll", "sollen", "über", "und", "uns", "vom",
            "von", "welche", "wenn", "wie", "wird", "wir", "zu", "zum", "zur", "zwischen", "möchte", "brauche", "muss",
        ],
        letters: "äöüß",
    },
    Known {
        lang: Lang::Fra,
        words: &[
            "aux", "avec", "ce", "ces", "cette", "comment", "dans", "de", "des", "du", "elle", "est", "et", "être",
            "faut", "il", "ils", "je", "la", "le", "les", "leur", "mes", "mon", "nos", "notre", "nous", "où", "pas",
            "pour", "qui", "que", "quel", "quelle", "ses", "sont", "sur", "tous", "tout", "toute", "un", "une", "veux",
            "vos", "votre", "vous", "voudrais",
        ],
        letters: "éèêëàâçîïôûùœ",
    },
    Known {
        lang: Lang::Spa,
        words: &[
            "al", "como", "cómo", "con", "cuál", "cuando", "de", "del", "donde", "dónde", "el", "ella", "en", "es",
            "esta", "este", "la", "las", "los", "mi", "mis", "más", "muy", "necesito", "para", "pero", "por", "que",
            "qué", "quiero", "sin", "sobre", "su", "sus", "todo", "todos", "todas", "un", "una", "unos", "ya",
            "nuestro",
        ],
        letters: "ñáéíóú¿¡",
    },
    Known {
        lang: Lang::Ita,
        words: &[
            "al", "alla", "anche", "che", "chi", "con", "cosa", "dal", "dei", "del", "della", "delle", "di", "dove",
            "è", "gli", "il", "la", "le", "lo", "mi", "mia", "mio", "nel", "nella", "non", "ogni", "per", "perché",
            "più", "posso", "quale", "quando", "questo", "serve", "sono", "sul", "tra", "tutte", "tutti", "un", "una",
            "uno", "voglio", "vorrei",
        ],
        letters: "àèéìòù",
    },
    Known {
        lang: Lang::Por,
        words: &[
            "ao", "aos", "até", "como", "da", "das", "de", "dos", "é", "ela", "ele", "em", "esta", "eu", "mais", "meu",
            "minha", "na", "não", "nas", "nos", "onde", "os", "ou", "para", "pela", "pelo", "por", "posso", "preciso",
            "qual", "quando", "que", "quero", "são", "sem", "ser", "seu", "sua", "também", "um", "uma", "você",
        ],
        letters: "ãõçáâêéíóú",
    },
    Known {
        lang: Lang::Nld,
        words: &[
            "aan", "bij", "dat", "de", "deze", "die", "dit", "een", "en", "geen", "heb", "het", "hij", "hoe", "hun",
            "ik", "je", "kan", "kunnen", "maar", "met", "mijn", "moet", "moeten", "naar", "niet", "nog", "onze", "ook",
            "tot", "uit", "van", "veel", "voor", "waar", "wat", "welke", "wij", "wil", "worden", "wordt", "zien",
            "zijn",
        ],
        letters: "ë",
    },
    Known {
        lang: Lang::Pol,
        words: &[
            "ale",
            "być",
            "chcę",
            "co",
            "czy",
            "dla",
            "gdzie",
            "ich",
            "jak",
            "jaka",
            "jaki",
            "jest",
            "kiedy",
            "który",
            "która",
            "które",
            "lub",
            "mnie",
            "moje",
            "mój",
            "muszę",
            "na",
            "nie",
            "od",
            "oraz",
            "przez",
            "się",
            "są",
            "tym",
            "wszystkie",
            "za",
            "ze",
            "że",
        ],
        letters: "ąćęłńóśźż",
    },
    Known {
        lang: Lang::Swe,
        words: &[
            "alla", "att", "av", "det", "du", "efter", "ej", "ett", "från", "för", "har", "hur", "inte", "jag", "kan",
            "kunna", "med", "mig", "min", "mitt", "mina", "när", "och", "om", "på", "ska", "som", "till", "vad", "vi",
            "vill", "vilka", "än", "är", "över",
        ],
        letters: "åäö",
    },
    Known {
        lang: Lang::Dan,
        words: &[
            "af", "alle", "der", "det", "du", "er", "fra", "har", "hvad", "hvor", "ikke", "jeg", "kan", "med", "mig",
            "og", "på", "skal", "som", "til", "vi", "vil",
        ],
        letters: "æøå",
    },
    Known {
        lang: Lang::Nob,
        words: &[
            "alle", "av", "det", "du", "er", "fra", "har", "hva", "hvor", "ikke", "jeg", "kan", "med", "meg", "og",
            "på", "skal", "som", "til", "vi", "vil",
        ],
        letters: "æøå",
    },
    Known {
        lang: Lang::Tur,
        words: &[
            "acaba",
            "ama",
            "bana",
            "benim",
            "bir",
            "bütün",
            "çok",
            "daha",
            "değil",
            "gibi",
            "göre",
            "için",
            "ile",
            "istiyorum",
            "kadar",
            "lütfen",
            "mı",
            "nasıl",
            "nerede",
            "olan",
            "olarak",
            "sonra",
            "şu",
            "tüm",
            "ve",
            "veya",
            "yok",
        ],
        letters: "çğışöü",
    },
    Known {
        lang: Lang::Ces,
        words: &[
            "aby", "jak", "jako", "jsem", "jsou", "které", "který", "nebo", "než", "před", "že", "za", "ze", "všechny",
            "chci",
        ],
        letters: "áčďéěíňóřšťúůýž",
    },
    Known {
        lang: Lang::Ron,
        words: &[
            "ce", "cu", "cum", "de", "din", "este", "în", "la", "mea", "meu", "nu", "pentru", "prin", "să", "sau",
            "și", "sunt", "toate", "unei", "vreau",
        ],
        letters: "ăâîșțşţ",
    },
    Known {
        lang: Lang::Hun,
        words: &[
            "az",
            "azt",
            "csak",
            "egy",
            "és",
            "hogy",
            "hogyan",
            "kell",
            "lehet",
            "milyen",
            "minden",
            "nem",
            "össze",
            "szeretnék",
            "vagy",
        ],
        letters: "áéíóöőúüű",
    },
    Known {
        lang: Lang::Fin,
        words: &[
            "että", "haluan", "ja", "joka", "jos", "kaikki", "kuin", "mikä", "miten", "minä", "minun", "mutta", "ovat",
            "tai", "tämä", "voi", "voin",
        ],
        letters: "äö",
    },
    Known {
        lang: Lang::Vie,
        words: &["các", "có", "của", "được", "là", "một", "này", "những", "tôi", "và", "với", "không", "muốn"],
        letters: "ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    },
    Known {
        lang: Lang::Ind,
        words: &[
            "adalah",
            "akan",
            "bagaimana",
            "dari",
            "dengan",
            "ingin",
            "itu",
            "pada",
            "saya",
            "semua",
            "tidak",
            "untuk",
            "yang",
        ],
        letters: "",
    },
];

/// Words that hold English sentences together, short and common ones of other languages left out.
pub(super) const ENGLISH: [&str; 64] = [
    "about", "an", "and", "any", "are", "at", "be", "by", "can", "could", "does", "each", "every", "find", "for",
    "from", "get", "give", "has", "have", "how", "i'm", "if", "into", "is", "it", "its", "let", "make", "me", "my",
    "need", "not", "of", "or", "our", "please", "show", "so", "tell", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "to", "want", "what", "what's", "when", "where", "which", "who", "whose", "will", "with",
    "would", "you", "your", "all",
];
